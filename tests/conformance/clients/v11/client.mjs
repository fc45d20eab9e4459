import { createTRPCClient, createWSClient, httpBatchLink, httpBatchStreamLink, httpLink, wsLink } from '@trpc/client';
import superjson from 'superjson';
import { drive } from '../driver.mjs';
import { webSocketUrl, webSocketWith } from '../links.mjs';

const links = {
  httpLink,
  httpBatchLink,
  httpBatchStreamLink,
  wsLink: ({ url, headers, transformer }) => {
    // Connects with the first call, and leaves after the last.
    const lazy = { enabled: true, closeMs: 0 };
    return wsLink({ client: createWSClient({ url: webSocketUrl(url), WebSocket: webSocketWith(headers()), lazy }), transformer });
  },
};

await drive((link, options) => createTRPCClient({ links: [links[link]({ ...options, transformer: superjson })] }));
