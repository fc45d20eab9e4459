// What links need outside a browser.
import WebSocket from 'ws';

// A WebSocket that sends headers, as a browser sends its cookies.
export const webSocketWith = (headers) =>
  class extends WebSocket {
    constructor(url) {
      super(url, { headers });
    }
  };

export const webSocketUrl = (url) => url.replace(/^http/, 'ws');
