/*
 * engine.h - the process: configuration, shards, signals, drain
 *
 * hm_engine_run is `hermod run` from start to exit. The control thread (the caller's)
 * has its own loop for what exists once: signals, the embedded Redis, credentials,
 * cancel marks, configuration snapshots. It never touches a message.
 */
#ifndef HM_CORE_ENGINE_H
#define HM_CORE_ENGINE_H

#include "adapter/cred.h"
#include "base/log.h"
#include "content/content.h"
#include "dispatch/cancel.h"
#include "dispatch/inflight.h"
#include "dispatch/runtime.h"
#include "ingest/http_server.h"
#include "loop/mailbox.h"
#include "redis/embedded.h"
#include "redis/redis.h"
#include "store/ledger.h"
#include "templates/templates.h"

#define HM_ENGINE_MAGIC	  0x656e676eu
#define HM_NODE_ID_MAX	  64
#define HM_HTTP_PORTS_MAX 16

struct hm_pauses;
struct hm_shard;
struct hm_engine {
	uint32_t magic;
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_mailbox mailbox;
	const char *config_path;
	const char *const *sets;
	struct hm_config
		*first_cfg;    /* settings that need a restart are read from here for the process' life */
	struct hm_runtime *rt; /* current snapshot */
	struct hm_book *book;  /* templates: files, and what is managed in Redis */
	char node_id[HM_NODE_ID_MAX + 1];
	char data_dir[1024];
	uint64_t boot_id;
	int lock_fd;
	struct hm_embedded *embedded;
	struct hm_redis_opts redis_opts;
	char redis_url[2100];
	struct hm_redis *redis; /* control thread's own */
	struct hm_wire *wire;
	struct hm_ledger *ledger;
	struct hm_cred_service *creds;
	struct hm_cancel_set *cancels;
	struct hm_inflight_old *old;
	struct hm_shard **shards;
	uint32_t n_shards, started, ready, ended;
	uint32_t shards_up; /* atomic: shards whose Redis connection is up */
	bool failed, draining;
	bool reload_later; /* asked for before all shards were there */
	struct hm_timer slow;
	int exit_code;
	uv_signal_t signals[4];
	size_t n_signals;
	bool redis_closed, wire_closed, embedded_stopped;
	struct hm_http_shared *http_shared;
	uint16_t http_ports
		[HM_HTTP_PORTS_MAX];	/* what shard 0 got for port 0 entries; set before the others start */
	struct hm_control *control;	/* control.c: follows the ctl stream */
	struct hm_nodes *nodes;		/* nodes.c: this node's line in the list */
	struct hm_templates *templates; /* managed ones, into the book */
	struct hm_pauses *pauses;	/* channels paused by hand */
};

/* Runs until a signal ends it. Returns the exit code: 0 clean, 1 failed, 2 bad configuration. */
int hm_engine_run(const char *config_path, const char *const *sets);
/* Prints "file:line:col: sentence" to stderr; a hm_report_fn. */
void hm_print_error(void *arg, const struct hm_err *e);
/* Mail from shards. */
void hm_engine_shard_ready(struct hm_engine *en, uint32_t index, const struct hm_err *failed);
void hm_engine_shard_ended(struct hm_engine *en, uint32_t index);
void hm_engine_reload(struct hm_engine *en);
void hm_engine_clock(struct hm_engine *en); /* the test clock moved */
/* From the control stream: what is paused by hand changed, or was loaded; a provider asked some process to wait. */
void hm_engine_pauses(struct hm_engine *en);
void hm_engine_stop(struct hm_engine *en, struct hm_str channel, uint64_t account, uint64_t ms);
/* What documents are compiled with under this configuration. */
void hm_engine_template_opts(const struct hm_config *cfg, struct hm_template_opts *o);
/* Template files into the book; every problem goes to report(), and then the old ones stay. */
int hm_engine_load_templates(struct hm_book *b, const struct hm_config *cfg, hm_report_fn report,
			     void *arg) HM_MUSTCHECK;
/* Settings -> options of the parts. */
void hm_engine_redis_opts(const struct hm_settings *s, struct hm_str url, struct hm_redis_opts *o);
void hm_engine_wire_opts(const struct hm_settings *s, struct hm_wire_opts *o);
void hm_engine_ledger_opts(const struct hm_settings *s, struct hm_ledger_opts *o);

#endif
