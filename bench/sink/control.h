/*
 * control.h - the control API: HTTP/1.1 and JSON on its own clear port
 *
 * Runs on the main thread's loop. A change is answered after every worker has it.
 * The routes are a table in control_routes.c; control.c only speaks HTTP.
 */
#ifndef HM_SINK_CONTROL_H
#define HM_SINK_CONTROL_H

#include "worker.h"

#define CONTROL_MAX_BODY (4u << 20)

struct control {
	struct sink *sink;
	uv_loop_t *loop;
	uv_tcp_t listener;
	bool listening;
	struct hm_list conns;
	struct hm_str ready;	     /* the JSON line of the ports */
	struct sink_knobs *at_start; /* what reset goes back to */
	llhttp_settings_t settings;
};

struct control_req {
	struct hm_str method, path, url; /* path without query */
	struct hm_str body;
	struct hm_buf scratch; /* decoded parameters */
};

struct control_reply {
	int status;
	struct hm_buf body;
	const char *type;
	/* Streaming: called again and again, appends to body, false = that was the last part. */
	bool (*more)(struct control *ctl, struct control_reply *r);
	struct ledger_cursor cursor;
	unsigned profile;
	uint32_t min_count;
};

int control_start(struct control *ctl, struct sink *s, uv_loop_t *loop, int fd,
		  struct hm_err *e) HM_MUSTCHECK;
void control_stop(struct control *ctl);
void control_route(struct control *ctl, struct control_req *q, struct control_reply *r);
/* Swaps the knobs on every worker; takes k over. */
void control_publish(struct control *ctl, struct sink_knobs *k);
/* {"requests": ..., "profiles": {...}} */
void control_totals(struct sink *s, struct hm_buf *out);
/* A YAML or JSON document with knobs and scripts, from a file or a request. */
int control_scenario(struct control *ctl, const struct hm_yaml *doc, struct hm_err *e) HM_MUSTCHECK;

#endif
