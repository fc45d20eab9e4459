import { createTRPCProxyClient, httpBatchLink, httpLink } from '@trpc/client';
import superjson from 'superjson';
import { drive } from '../driver.mjs';

const links = { httpLink, httpBatchLink };

await drive((link, options) => createTRPCProxyClient({ links: [links[link](options)], transformer: superjson }));
