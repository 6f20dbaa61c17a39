/*
 * http_int.h - what the files of the HTTP server share
 */
#ifndef HM_INGEST_HTTP_INT_H
#define HM_INGEST_HTTP_INT_H

#include "ingest/api_key.h"
#include "ingest/http_req.h"
#include "ingest/job.h"
#include "loop/listen.h"

#define HTTP_PIPELINE_MAX 64	      /* requests of one connection under way at once */
#define HTTP_DISCARD_MAX  (64u << 10) /* of a body nobody wants; beyond it the connection goes */
#define HTTP_URI_MAX	  4096
#define HTTP_ANSWER_MAX	  (64u << 20) /* ceiling of one answer's body; batches are bounded far below */
#define HTTP_HEADERS_MAX  100
#define HTTP_LISTEN_MAX	  16
#define HTTP_LOOKUPS_MAX  256 /* ledger look-ups under way per server */

/* Why a connection's parser stands still. */
enum http_pause {
	PAUSE_AUTH = 1,	    /* an API key is being looked up */
	PAUSE_PIPELINE = 2, /* enough requests under way */
	PAUSE_STREAM = 4,   /* a streaming handler has enough; stops the socket, not the parser */
	PAUSE_END = 8,	    /* no further requests */
};

/* Our own reasons to end the parsing of a request. */
enum http_refusal {
	REFUSED_NOT,
	REFUSED_URI,
	REFUSED_BYTES,
	REFUSED_COUNT,
	REFUSED_TWICE,
	REFUSED_BODY,
	REFUSED_MEMORY,
};

/* Headers the server looks at; the rest is counted and dropped. */
enum http_header {
	HDR_OTHER,
	HDR_HOST,
	HDR_CONTENT_TYPE,
	HDR_AUTHORIZATION,
	HDR_IDEMPOTENCY_KEY,
	HDR_EXPECT,
	HDR_IF_MATCH,
};

struct hm_http_conn {
	uint32_t magic;
	struct hm_node node; /* srv->conns */
	struct hm_http_server *srv;
	struct hm_conn conn;
	llhttp_t parser;
	struct hm_list reqs;	    /* in order of arrival; the first unanswered one holds up the rest */
	struct hm_http_req *cur;    /* being parsed, the last of reqs */
	struct hm_buf in, in_spare; /* read while the parser stands still */
	uint8_t paused;		    /* enum http_pause */
	uint8_t refused;	    /* enum http_refusal */
	bool executing, finished, opened;
	bool owes; /* the parser stopped between two steps and goes on without further bytes */
	/* head being parsed */
	uint8_t name_len, header; /* 255: longer than name */
	uint16_t n_headers;
	char name[24];
	size_t head_bytes;
	/* time */
	struct hm_timer timer;
	uint64_t since_ms; /* when the present phase began, or its last sign of life */
	uint64_t tx_seen;  /* bytes written at the last look, for stuck readers */
	uint64_t tx_since_ms;
	/* the key verified last on this connection: most send the same one again */
	uint64_t auth_generation;
	uint64_t auth_until_ms;
	uint16_t auth_token_len;
	char auth_token[80];
	uint32_t auth_slot;
};

struct http_limits {
	uint64_t header_ms, body_ms, idle_ms, idempotency_ttl_ms;
	size_t max_header, max_body, max_entry;
	uint32_t max_connections, max_batch, max_chunk;
	bool auth_off, metrics_auth;
};

struct auth_cache;
struct hm_http_server {
	uint32_t magic;
	struct hm_http_deps deps;
	struct hm_tick *tick;
	struct http_limits lim;
	struct hm_tls *tls;
	struct hm_str prefix;
	uint32_t partitions;
	struct hm_str *streams; /* [partition * HM_LANE_COUNT + lane] */
	struct hm_arena arena;	/* lives as long as the server */
	struct hm_listener listeners[HTTP_LISTEN_MAX];
	size_t n_listeners, open_listeners;
	struct hm_list conns;
	struct hm_slab conn_slab, req_slab, pend_slab;
	size_t busy, lookups;
	bool draining, closing, listening, closed;
	struct hm_timer close_timer;
	void (*on_closed)(void *arg);
	void *closed_arg;
	/* scratch, used within one callback */
	struct hm_buf mp, entry, body;
	msgpack_zone zone;
	uint64_t date_s;
	char date[40];
	char acc[HM_JOB_ACC_MAX];
	size_t acc_len;
	struct auth_cache *auth;
};

/* http_conn.c */
void hm_http_conn_accept(struct hm_http_server *s, struct hm_listener *l);
void hm_http_conn_advance(struct hm_http_conn *c);
void hm_http_conn_resume(struct hm_http_conn *c, enum http_pause bit);
void hm_http_conn_drain(struct hm_http_conn *c); /* closes it when nothing is under way */
void hm_http_req_proceed(
	struct hm_http_req *r); /* authorised: checks what the head promises, begins streaming */
/* http_server.c */
void hm_http_server_conn_gone(struct hm_http_server *s);
/* http_reply.c */
void hm_http_write_answer(struct hm_http_req *r, struct hm_buf *b, const struct hm_http_answer *a,
			  bool close);
/* auth.c */
enum auth_result { AUTH_OK, AUTH_WAIT, AUTH_ANSWERED };
struct auth_cache *hm_auth_new(struct hm_http_server *s);
void hm_auth_free(struct auth_cache *a);
enum auth_result hm_auth_check(struct hm_http_req *r, uint8_t scope);
/* shared.c: what all servers of the process count together */
int64_t hm_http_shared_conns(struct hm_http_shared *s, int64_t add);
uint64_t hm_http_shared_generation(const struct hm_http_shared *s);
/* One request of a key with `rate` per second. 0: may go; else ms to wait. */
uint64_t hm_http_shared_take(struct hm_http_shared *s, struct hm_str key_id, uint32_t rate, uint64_t now_ns);
/* What Redis last said about a key (id: HM_API_KEY_ID bytes), for times when it does not answer. */
void hm_http_shared_learn(struct hm_http_shared *s, const struct hm_api_key *k);
void hm_http_shared_forget(struct hm_http_shared *s, const char *id);
bool hm_http_shared_recall(struct hm_http_shared *s, const char *id, struct hm_api_key *k_r) HM_MUSTCHECK;

/* Names of a message against the configuration: 0, or HM_EINVAL with the field set. */
int hm_http_check_names(struct hm_http_server *s, const struct hm_job_spec *spec, struct hm_err *e);
/* Stream key of a partition and lane. */
static inline struct hm_str hm_http_stream(const struct hm_http_server *s, uint32_t partition,
					   enum hm_lane lane)
{
	return s->streams[partition * HM_LANE_COUNT + lane];
}

size_t hm_api_pend_size(void); /* of what pend_slab holds: api_messages.c */

/* Handlers (routes.c has the table). */
void hm_api_message_post(struct hm_http_req *r);
void hm_api_batch_begin(struct hm_http_req *r);
void hm_api_batch_data(struct hm_http_req *r, const char *p, size_t n);
void hm_api_batch_end(struct hm_http_req *r);
void hm_api_message_get(struct hm_http_req *r);
void hm_api_message_cancel(struct hm_http_req *r);
void hm_api_pause(struct hm_http_req *r);
void hm_api_resume(struct hm_http_req *r);
void hm_api_cancel(struct hm_http_req *r);
void hm_api_pauses(struct hm_http_req *r);
void hm_api_messages_list(struct hm_http_req *r);
void hm_api_report(struct hm_http_req *r);
void hm_api_receipts_post(struct hm_http_req *r);
void hm_api_dead_list(struct hm_http_req *r);
void hm_api_dead_count(struct hm_http_req *r);
void hm_api_dead_get(struct hm_http_req *r);
void hm_api_dead_replay(struct hm_http_req *r);
void hm_api_dead_drop(struct hm_http_req *r);
void hm_api_campaign_resend(struct hm_http_req *r);
void hm_api_healthz(struct hm_http_req *r);
void hm_api_readyz(struct hm_http_req *r);
void hm_api_metrics(struct hm_http_req *r);
void hm_api_openapi(struct hm_http_req *r);

extern const char hm_openapi_json[];
extern const size_t hm_openapi_json_len;

#endif
