import { createTRPCProxyClient, createWSClient, httpBatchLink, httpLink, wsLink } from '@trpc/client';
import superjson from 'superjson';
import { drive } from '../driver.mjs';
import { webSocketUrl, webSocketWith } from '../links.mjs';

const links = {
  httpLink,
  httpBatchLink,
  wsLink: ({ url, headers }) => {
    // Connects with the first call, and leaves after the last.
    const lazy = { enabled: true, closeMs: 0 };
    return wsLink({ client: createWSClient({ url: webSocketUrl(url), WebSocket: webSocketWith(headers()), lazy }) });
  },
};

await drive((link, options) => createTRPCProxyClient({ links: [links[link](options)], transformer: superjson }));
