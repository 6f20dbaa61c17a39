/*
 * http_server.h - the HTTP API: one server per shard
 *
 *   listener(s, SO_REUSEPORT) -> connection (llhttp) -> request -> routes.c -> handler -> answer
 *
 * HTTP/1.1 with keep-alive, pipelining (answers in order, up to 64 requests of a
 * connection at once), chunked bodies, Expect: 100-continue, HEAD; optional TLS.
 * Limits on everything (settings, section http): connections of the process, bytes
 * of head and body, time for head, body and idleness. Every error is an
 * application/problem+json answer (RFC 9457).
 *
 * What the server needs from the rest of the engine comes in struct hm_http_deps,
 * so that it can be tested with nothing but a Redis.
 *
 * Lifetime: new, listen, (reload, drain)*, close; memory is gone when on_closed runs.
 * Threads:  the tick's; hm_http_shared is made once and used by all servers of the process.
 * Memory:   requests come from slabs and arenas; a steady stream of submissions mallocs nothing.
 */
#ifndef HM_INGEST_HTTP_SERVER_H
#define HM_INGEST_HTTP_SERVER_H

#include "base/err.h"
#include "config/config.h"
#include "loop/tick.h"
#include "redis/redis.h"
#include "store/ledger.h"

#define HM_HTTP_SERVER_MAGIC 0x68747470u

/* What all servers of a process share: the number of connections, rate limits per API key. All atomic. */
struct hm_http_shared;
struct hm_http_shared *hm_http_shared_new(void); /* NULL: out of memory */
void hm_http_shared_free(struct hm_http_shared *s);
/* API keys have changed (a `keys` event on the control stream, see cancel_mark.h): caches ask again. Any thread. */
void hm_http_keys_changed(struct hm_http_shared *s);

enum hm_http_name { HM_HTTP_CHANNEL, HM_HTTP_ROUTE, HM_HTTP_TEMPLATE };

struct hm_http_req;
struct hm_http_route; /* http_req.h */
struct hm_http_table {
	const struct hm_http_route *v;
	size_t n;
};
struct hm_templates_api; /* templates/api.h */
struct hm_receipts;	 /* ingest/receipts.h */
struct hm_callbacks;	 /* receipts/callbacks.h */
struct hm_inbox;	 /* inbox/inbox.h */

struct hm_http_deps {
	struct hm_tick *tick;
	const struct hm_settings *settings; /* read during new and reload, then while the server lives */
	struct hm_http_shared *shared;
	struct hm_redis *redis;
	struct hm_ledger *ledger;	 /* NULL: look-ups answer 404 */
	struct hm_ledger_writer *writer; /* NULL: nothing is recorded at acceptance */
	uint64_t boot_id; /* written into `acc` of entries (8 bytes, big endian), before node_id */
	struct hm_str node_id;
	void *arg; /* of the callbacks below; all on the tick's thread, all must not block */
	/* Does the name exist in the current configuration? template: "name" or "name@version". When it does not, *e may be
	 * set to a sentence that says more than that. NULL: everything exists. */
	bool (*known)(void *arg, enum hm_http_name what, struct hm_str name, struct hm_err *e);
	/* false: appends to `why` one sentence (draining, ledger failing ...). NULL: ready when Redis is up. */
	bool (*ready)(void *arg, struct hm_buf *why);
	/* Prometheus text; NULL: /metrics answers 404. */
	void (*metrics)(void *arg, struct hm_buf *out);
	/* Further routes (admin API, templates), looked at after the own ones, table by table. May be NULL. */
	const struct hm_http_table *extra;
	size_t n_extra;
	struct hm_templates_api *templates; /* what the routes of templates/ work with; theirs */
	struct hm_receipts *receipts;	    /* NULL: none are taken */
	struct hm_callbacks *callbacks;	    /* what the routes of receipts/ work with; theirs */
	struct hm_inbox *inbox;		    /* what the routes of inbox/ work with; theirs */
};

struct hm_http_server;
int hm_http_server_new(const struct hm_http_deps *deps, struct hm_http_server **s_r,
		       struct hm_err *e) HM_MUSTCHECK;
/* Opens settings.http.listen. `ports` (may be NULL) overrides port 0 entries: what another shard's server got, in
 * the order of the list, so that all shards share a port chosen by the kernel. */
int hm_http_server_listen(struct hm_http_server *s, const uint16_t *ports, struct hm_err *e) HM_MUSTCHECK;
size_t hm_http_server_listeners(const struct hm_http_server *s);
uint16_t hm_http_server_port(const struct hm_http_server *s, size_t i);
/* New settings (must outlive the server or the next reload): limits, timeouts, certificate. On error the old ones stay. */
int hm_http_server_reload(struct hm_http_server *s, const struct hm_settings *settings,
			  struct hm_err *e) HM_MUSTCHECK;
/* /readyz says 503 and keep-alive ends with the next answer. Listening and submitting go on: the queue keeps what comes. */
void hm_http_server_drain(struct hm_http_server *s);
void *hm_http_server_arg(const struct hm_http_server *s); /* deps.arg, for handlers of extra routes */
struct hm_templates_api *hm_http_server_templates(const struct hm_http_server *s); /* deps.templates */
struct hm_callbacks *hm_http_server_callbacks(const struct hm_http_server *s);	   /* deps.callbacks */
struct hm_inbox *hm_http_server_inbox(const struct hm_http_server *s);		   /* deps.inbox */
struct hm_str hm_http_server_prefix(const struct hm_http_server *s);		   /* queue.prefix */
uint64_t hm_http_server_wall_ms(const struct hm_http_server *s);
struct hm_redis *hm_http_server_redis(const struct hm_http_server *s);
const struct hm_settings *hm_http_server_settings(const struct hm_http_server *s); /* those of now */
size_t hm_http_server_busy(const struct hm_http_server *s); /* requests not yet answered */
/* Stops listening, lets what is under way finish for at most limit_ms, then closes the rest. */
void hm_http_server_close(struct hm_http_server *s, uint64_t limit_ms, void (*on_closed)(void *arg),
			  void *arg);

#endif
