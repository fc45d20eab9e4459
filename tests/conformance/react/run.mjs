// Runs scenarios: a JSON line {scenario, link, url, tokens} in, a JSON line out, {} if all is as it should be, else {error}.
import './browser.mjs';
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { createInterface } from 'node:readline';
import { createElement } from 'react';
import { Attachments, LiveAttachments, Open, Pages, provide } from './page.mjs';

// Ample for a loaded machine.
const TIMEOUT_MS = 30_000;
const within = { timeout: TIMEOUT_MS };
const see = (text) => screen.findByText(text, {}, within);
const gone = (text) => waitFor(() => assert.equal(screen.queryByText(text), null), within);

const names = () => screen.getAllByRole('listitem').map((item) => item.firstChild.textContent);

class Site {
  constructor({ link, url, tokens }) {
    Object.assign(this, { link, url, tokens });
  }

  headers(who) {
    return who ? { cookie: `session=${this.tokens[who]}` } : {};
  }

  show(component, properties, who = 'member') {
    const { link, url } = this;
    return render(provide(createElement(component, properties), { link, url: `${url}/api/trpc`, headers: this.headers(who) }));
  }

  async upload(conversationId, filename, who = 'member') {
    const body = new FormData();
    body.set('conversationId', conversationId);
    body.set('file', new Blob(['a note\n']), filename);
    const response = await fetch(`${this.url}/api/upload`, { method: 'POST', headers: this.headers(who), body });
    assert.equal(response.status, 200);
    return (await response.json()).id;
  }

  async remove(id) {
    const headers = { ...this.headers('member'), 'content-type': 'application/json' };
    const response = await fetch(`${this.url}/api/trpc/attachments.delete`, { method: 'POST', headers, body: JSON.stringify({ id }) });
    assert.equal(response.status, 200);
  }

  async openGenerators() {
    return (await (await fetch(`${this.url}/api/trpc/open.held`)).json()).result.data.json.generators;
  }
}

const scenarios = {
  async query(site) {
    const conversationId = randomUUID();
    await site.upload(conversationId, 'a.txt');
    await site.upload(conversationId, 'b.txt');
    site.show(Attachments, { conversationId });
    assert.ok(screen.getByText('loading'));
    await see('2 attachments');
    assert.deepEqual(names(), ['a.txt', 'b.txt']);
  },

  async queryWithoutCredentials(site) {
    site.show(Attachments, { conversationId: randomUUID() }, null);
    const alert = await screen.findByRole('alert', {}, within);
    assert.match(alert.textContent, /^UNAUTHORIZED: authentication required/);
  },

  async queryWithBadInput(site) {
    site.show(Attachments, { conversationId: 'x' });
    const alert = await screen.findByRole('alert', {}, within);
    assert.match(alert.textContent, /^BAD_REQUEST: /);
  },

  async infiniteQuery(site) {
    const conversationId = randomUUID();
    for (const name of ['a', 'b', 'c', 'd', 'e']) {
      await site.upload(conversationId, `${name}.txt`);
    }
    site.show(Pages, { conversationId, limit: 2 });
    await see('1 pages: a.txt b.txt');
    fireEvent.click(screen.getByText('more'));
    await see('2 pages: a.txt b.txt c.txt d.txt');
    fireEvent.click(screen.getByText('more'));
    await see('3 pages: a.txt b.txt c.txt d.txt e.txt');
    assert.ok(screen.getByText('more').disabled, 'there is no further page');
  },

  async mutationAndInvalidation(site) {
    const conversationId = randomUUID();
    await site.upload(conversationId, 'stays.txt');
    await site.upload(conversationId, 'goes.txt');
    site.show(Attachments, { conversationId });
    fireEvent.click(await see('delete goes.txt'));
    await see('1 attachments');
    assert.deepEqual(names(), ['stays.txt']);
  },

  async mutationThatIsForbidden(site) {
    const conversationId = randomUUID();
    await site.upload(conversationId, 'theirs.txt', 'colleague');
    site.show(Attachments, { conversationId });
    fireEvent.click(await see('delete theirs.txt'));
    const alert = await screen.findByRole('alert', {}, within);
    assert.equal(alert.textContent, 'FORBIDDEN: only the owner of an attachment or an admin may delete it');
    assert.deepEqual(names(), ['theirs.txt']);
  },

  async subscription(site) {
    const conversationId = randomUUID();
    site.show(LiveAttachments, { conversationId });
    await see('changes: ready');
    await see('subscription pending');
    await see('0 attachments');
    const first = await site.upload(conversationId, 'first.txt');
    await see('1 attachments');
    await site.upload(conversationId, 'second.txt');
    await site.upload(randomUUID(), 'elsewhere.txt');
    await see('2 attachments');
    assert.deepEqual(names(), ['first.txt', 'second.txt']);
    await site.remove(first);
    await see('1 attachments');
    assert.deepEqual(names(), ['second.txt']);
    await see('changes: ready created created deleted');
  },

  async subscriptionBesideOwnMutation(site) {
    const conversationId = randomUUID();
    await site.upload(conversationId, 'mine.txt');
    site.show(LiveAttachments, { conversationId });
    await see('changes: ready');
    fireEvent.click(await see('delete mine.txt'));
    await see('changes: ready deleted');
    await see('0 attachments');
  },

  async subscriptionWithoutCredentials(site) {
    site.show(LiveAttachments, { conversationId: randomUUID() }, null);
    await see('subscription error');
    const [alert] = screen.getAllByRole('alert');
    assert.match(alert.textContent, /^UNAUTHORIZED: authentication required/);
  },

  async leavingThePageEndsTheSubscription(site) {
    const page = site.show(Open, {});
    await see('open pending 0');
    assert.equal(await site.openGenerators(), 1);
    page.unmount();
    await gone('open pending 0');
    await waitFor(async () => assert.equal(await site.openGenerators(), 0), within);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { scenario, ...site } = JSON.parse(line);
  let answer = {};
  try {
    await scenarios[scenario](new Site(site));
  } catch (error) {
    answer = { error: error.stack };
  }
  cleanup();
  console.log(JSON.stringify(answer));
}
process.exit(0);
