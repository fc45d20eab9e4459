// The parts of a browser that React and its testing library look for, by happy-dom. Import this before them.
import { Window } from 'happy-dom';

const window = new Window({ url: 'http://localhost/' });
// Requests are Node's: happy-dom's own know nothing of the cookies that these tests send.
window.fetch = globalThis.fetch;
const names = ['document', 'Element', 'HTMLElement', 'HTMLIFrameElement', 'Node', 'MutationObserver', 'navigator'];
const parts = { window, ...Object.fromEntries(names.map((name) => [name, window[name]])) };
for (const [name, value] of Object.entries(parts)) {
  // Newer versions of Node have some of them, which cannot be assigned.
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
