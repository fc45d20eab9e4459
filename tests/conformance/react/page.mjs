// A page as an application has it: the attachments of a conversation, kept as they are by a subscription.
import { QueryClient, QueryClientProvider, useInfiniteQuery, useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { createTRPCClient, createWSClient, httpBatchStreamLink, httpSubscriptionLink, splitLink, wsLink } from '@trpc/client';
import { createTRPCContext, useSubscription } from '@trpc/tanstack-react-query';
import { EventSource } from 'eventsource';
import { createElement, useState } from 'react';
import superjson from 'superjson';
import WebSocket from 'ws';

export const { TRPCProvider, useTRPC } = createTRPCContext();
const transformer = superjson;

// How an application reaches the server: by HTTP with server-sent events, or by a WebSocket alone.
const links = {
  http: ({ url, headers }) => {
    const withHeaders = (input, init) => fetch(input, { ...init, headers: { ...init.headers, ...headers } });
    return splitLink({
      condition: (op) => op.type === 'subscription',
      true: httpSubscriptionLink({ url, transformer, EventSource, eventSourceOptions: { fetch: withHeaders } }),
      false: httpBatchStreamLink({ url, transformer, headers }),
    });
  },
  ws: ({ url, headers }) => {
    class WithHeaders extends WebSocket {
      constructor(address) {
        super(address, { headers });
      }
    }
    const lazy = { enabled: true, closeMs: 0 };
    return wsLink({ client: createWSClient({ url: url.replace(/^http/, 'ws'), WebSocket: WithHeaders, lazy }), transformer });
  },
};

// The element inside everything that tRPC and the query library need around it.
export function provide(element, { link, url, headers }) {
  const queryClient = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  const trpcClient = createTRPCClient({ links: [links[link]({ url, headers })] });
  return createElement(
    QueryClientProvider,
    { client: queryClient },
    createElement(TRPCProvider, { trpcClient, queryClient }, element),
  );
}

const problem = (error) => createElement('p', { role: 'alert' }, `${error.data?.code}: ${error.message}`);

export function Attachments({ conversationId }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const refresh = () => queryClient.invalidateQueries(trpc.attachments.list.queryFilter({ conversationId }));
  const list = useQuery(trpc.attachments.list.queryOptions({ conversationId }));
  const remove = useMutation(trpc.attachments.delete.mutationOptions({ onSuccess: refresh }));
  if (list.error) {
    return problem(list.error);
  }
  const items = list.data?.map(({ id, filename }) =>
    createElement('li', { key: id }, filename, createElement('button', { onClick: () => remove.mutate({ id }) }, `delete ${filename}`)));
  return createElement(
    'section',
    null,
    createElement('h1', null, list.isPending ? 'loading' : `${list.data.length} attachments`),
    createElement('ul', null, items),
    remove.error && problem(remove.error),
  );
}

export function LiveAttachments({ conversationId }) {
  const trpc = useTRPC();
  const queryClient = useQueryClient();
  const [changes, setChanges] = useState([]);
  const subscription = useSubscription(
    trpc.attachments.onChange.subscriptionOptions(
      { conversationId },
      {
        onData: ({ data }) => {
          setChanges((before) => [...before, data.type]);
          queryClient.invalidateQueries(trpc.attachments.list.queryFilter({ conversationId }));
        },
      },
    ),
  );
  return createElement(
    'main',
    null,
    createElement('p', null, `subscription ${subscription.status}`),
    createElement('p', null, `changes: ${changes.join(' ')}`),
    subscription.error && problem(subscription.error),
    createElement(Attachments, { conversationId }),
  );
}

export function Pages({ conversationId, limit }) {
  const trpc = useTRPC();
  const pages = useInfiniteQuery(
    trpc.attachments.page.infiniteQueryOptions(
      { conversationId, limit, order: 'asc' },
      { getNextPageParam: (page) => page.nextCursor },
    ),
  );
  const names = pages.data?.pages.flatMap((page) => page.items.map((item) => item.filename)) ?? [];
  return createElement(
    'section',
    null,
    createElement('p', null, `${pages.data?.pages.length ?? 0} pages: ${names.join(' ')}`),
    createElement('button', { disabled: !pages.hasNextPage, onClick: () => pages.fetchNextPage() }, 'more'),
  );
}

export function Open() {
  const trpc = useTRPC();
  const { status, data } = useSubscription(trpc.open.run.subscriptionOptions());
  return createElement('p', null, `open ${status} ${data}`);
}
