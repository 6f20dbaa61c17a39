/*
 * worker.h - the process (struct sink) and its worker threads
 *
 * A worker has one uv loop, one of everything else, and a mailbox: connections
 * dealt out by the main thread, and calls. worker_call_all() runs a function on
 * every worker and returns when all have run it, so a control request is
 * answered only after its change is in force everywhere.
 */
#ifndef HM_SINK_WORKER_H
#define HM_SINK_WORKER_H

#include <llhttp.h>
#include <nghttp2/nghttp2.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <semaphore.h>
#include <uv.h>

#include "knobs.h"
#include "ledger.h"
#include "options.h"
#include "profile.h"
#include "sink.h"

#define WORKER_READ   (256u << 10)
#define WORKER_PLAIN  16384u /* one TLS record */
#define WORKER_CIPHER (1u << 20)
#define WORKER_IDS    2000u

struct recent;
struct scripts;
struct tokens;

struct sink {
	const struct sink_options *options;
	struct sink_knobs *knobs; /* main thread; workers have the same pointer between two calls */
	struct ledger *ledger;	  /* NULL with --no-ledger */
	struct recent *recent;	  /* NULL with --keep-requests 0 */
	struct scripts *scripts;
	struct tokens *tokens;
	SSL_CTX *tls;
	struct sink_worker *workers;
	unsigned n_workers;
	_Atomic uint64_t open_conns, total_conns, refused_conns;
	uint64_t start_ms;
};

/* Which of the sink's ports a connection came to. */
enum listener { LISTEN_CLEAR, LISTEN_TLS, LISTEN_SMTP, LISTEN_SMPP, LISTEN_COUNT };

typedef void worker_call_fn(struct sink_worker *w, void *arg);

struct worker_job {
	enum { JOB_CONN, JOB_CALL, JOB_STOP } kind;
	int fd;
	enum listener via;
	worker_call_fn *fn;
	void *arg;
	sem_t *done;
	struct worker_job *next;
};

struct sink_worker {
#define SINK_WORKER_MAGIC 0x51ab0002u
	uint32_t magic;
	unsigned index;
	struct sink *sink;
	struct sink_knobs *knobs;
	uv_loop_t loop;
	uv_async_t mail;
	uv_timer_t timer, sweep;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock; /* of the two below */
	struct worker_job *jobs, **jobs_tail;
	/* the worker's own */
	struct hm_heap heap;  /* delayed requests, key = loop ms */
	struct hm_list conns; /* all */
	struct hm_list dirty; /* have something to write or to decide */
	struct sink_req *free_reqs;
	size_t n_free_reqs;
	uint64_t now_ms; /* wall clock, taken at the start of each callback */
	uint64_t rng[4];
	uint64_t next_conn;
	struct sink_counts *counts; /* [SINK_MAX_PROFILES] */
	char *rbuf, *plain;
	char *cipher;
	size_t cipher_len;
	struct hm_buf scratch; /* decoded texts of the request at hand */
	struct sink_id ids[WORKER_IDS];
	nghttp2_session_callbacks *h2_callbacks;
	nghttp2_option *h2_option;
	struct h2_mem *h2_mem;
	llhttp_settings_t h1_settings;
	BIO_METHOD *bio;
	bool stopping;
	void *profile_data[SINK_MAX_PROFILES]; /* caches of profiles; calloc'ed by them, freed with free() */
};

int workers_start(struct sink *s, struct hm_err *e) HM_MUSTCHECK;
void workers_stop(struct sink *s);
void worker_call_all(struct sink *s, worker_call_fn *fn, void *arg);
void worker_give_conn(struct sink *s, unsigned index, int fd, enum listener via);

/* Owner thread. */
void worker_tick(struct sink_worker *w);  /* first thing in a callback */
void worker_flush(struct sink_worker *w); /* last thing in a callback */
void worker_delay(struct sink_worker *w, struct sink_req *r, uint64_t ms);
struct sink_req *req_new(struct sink_worker *w, struct sink_conn *c); /* NULL when out of memory */
void req_free(struct sink_req *r);
/* Decides the answer to a complete request and sends it, now or later. */
void answer_request(struct sink_req *r);
/* Takes the script of a mail before it is complete: of this target, of no id yet. It is used when the mail is answered. */
void request_script(struct sink_req *r, struct hm_str target);

#endif
