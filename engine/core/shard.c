/*
 * shard.c - opening, running and closing one shard
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "admin/metrics.h"
#include "core/admin.h"
#include "core/channels.h"
#include "core/routes.h"
#include "core/shard.h"
#include "facts/facts.h"
#include "gates/gates.h"
#include "gates/suppress.h"
#include "shape/pauses.h"
#include "shape/shape.h"
#include "content/content.h"
#include "gates/api.h"
#include "ingest/http_server.h"
#include "ingest/receipts.h"
#include "inbox/inbox.h"
#include "receipts/callbacks.h"
#include "wire/driver.h"
#include "schedule/api.h"
#include "templates/api.h"

#define SHARD_MAGIC   0x73686472u
#define HTTP_CLOSE_MS 2000 /* for requests under way after the drain */

struct hm_shard {
	uint32_t magic, index;
	struct hm_engine *en;
	pthread_t thread;
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_mailbox mailbox;
	struct hm_redis *redis;
	struct hm_wire *wire;
	struct hm_ledger_writer *writer;
	struct hm_cred_shard *creds;
	struct hm_facts *facts;
	struct hm_gates *gates;
	struct hm_invalid_guard *guard;
	struct hm_shaper *shaper;
	struct hm_dispatch *dispatch;
	struct hm_receipts *receipts;
	struct hm_callbacks *callbacks;
	struct hm_inbox *inbox;
	struct hm_http_server *http;
	struct hm_templates_api tapi;
	struct hm_book_eye templates; /* what the HTTP server looks names up in */
	struct hm_runtime *rt;	      /* current snapshot */
	struct hm_runtime *http_rt;   /* an older one the HTTP server still reads, or NULL */
	char consumer[HM_NODE_ID_MAX + 16];
	bool tick_ready, mailbox_ready, redis_up, draining, closing, wait_for_disk;
	bool pulls; /* the dispatch was started */
	uint32_t closing_parts;
	bool takes_mail; /* control thread's */
};

/* -- mail to the control thread -------------------------------------------------------------- */

struct news {
	struct hm_mail mail;
	uint32_t index;
	bool ended;
	struct hm_err err;
};

static void deliver_news(struct hm_mail *m, void *owner)
{
	struct news *n = hm_container_of(m, struct news, mail);

	if (n->ended)
		hm_engine_shard_ended(owner, n->index);
	else
		hm_engine_shard_ready(owner, n->index, n->err.code ? &n->err : NULL);
	free(n);
}

static void tell(struct hm_shard *s, bool ended, const struct hm_err *err)
{
	struct news *n = calloc(1, sizeof(*n));

	if (n == NULL)
		hm_panic(__FILE__, __LINE__, __func__, "no memory to report a shard's state");
	n->mail.deliver = deliver_news;
	n->index = s->index;
	n->ended = ended;
	if (err != NULL)
		n->err = *err;
	hm_mailbox_post(&s->en->mailbox, &n->mail);
}

/* -- opening -------------------------------------------------------------------------------- */

static void on_redis_state(void *arg, bool up, const struct hm_err *why)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	if (up != s->redis_up) {
		s->redis_up = up;
		__atomic_add_fetch(&s->en->shards_up, up ? 1u : UINT32_MAX, __ATOMIC_RELAXED);
	}
	if (s->dispatch != NULL && s->pulls)
		hm_dispatch_redis_state(s->dispatch, up);
	if (!up && why != NULL && !s->closing)
		HM_WARN(REDIS, "Redis is away", HM_E(why));
	else if (up)
		HM_INFO(REDIS, "Redis is there");
}

static void close_rest(struct hm_shard *s);

static void on_durable(void *arg, uint64_t ticket)
{
	struct hm_shard *s = arg;

	if (s->dispatch != NULL)
		hm_dispatch_durable(s->dispatch, ticket);
	if (s->wait_for_disk && hm_ledger_backlog(s->writer) == 0) {
		s->wait_for_disk = false;
		close_rest(s);
	}
}

/* -- what the HTTP server asks ---------------------------------------------------------------- */

/* Only what can be sent: a job with a fragment could but fail. */
static bool template_known(struct hm_shard *s, struct hm_str ref, struct hm_err *e)
{
	const struct hm_template *t;

	if (!hm_templates_loaded(s->en->templates)) /* while the managed ones are not loaded, nobody knows */
		return true;
	t = hm_template_find(hm_book_look(&s->templates), ref, e);
	if (t && hm_template_is_fragment(t))
		hm_err_set(e, HM_EINVAL, "\"%.*s\" is a fragment: it is included, not sent", HM_STRF(ref));
	return e->code == 0;
}

static bool known(void *arg, enum hm_http_name what, struct hm_str name, struct hm_err *e)
{
	struct hm_shard *s = arg;

	switch (what) {
	case HM_HTTP_CHANNEL: return hm_channel_find(s->rt->channels, name) != NULL;
	case HM_HTTP_ROUTE: return hm_config_route(s->rt->cfg, name) != NULL;
	case HM_HTTP_TEMPLATE: return template_known(s, name, e);
	}
	return false;
}

static bool is_ready(void *arg, struct hm_buf *why)
{
	const struct hm_shard *s = arg;
	struct hm_ledger_health health;

	if (s->draining) {
		hm_buf_lit(why, "the engine is draining");
		return false;
	}
	/* Whichever shard answers, it answers for all: the next request may land on another. */
	if (__atomic_load_n(&s->en->shards_up, __ATOMIC_RELAXED) < s->en->n_shards) {
		hm_buf_printf(why, "%u of %u shards reach Redis",
			      __atomic_load_n(&s->en->shards_up, __ATOMIC_RELAXED), s->en->n_shards);
		return false;
	}
	if (!hm_templates_loaded(s->en->templates)) {
		hm_buf_lit(why, "the managed templates are not loaded yet");
		return false;
	}
	if (!hm_pauses_loaded(s->en->pauses)) {
		hm_buf_lit(why, "which channels are paused is not known yet");
		return false;
	}
	hm_ledger_health(s->en->ledger, &health);
	if (health.failing) {
		hm_buf_lit(why, "the ledger cannot be written: ");
		hm_buf_puts(why, hm_str_c(health.err.text));
		return false;
	}
	return true;
}

static void metrics(void *arg, struct hm_buf *out)
{
	hm_metrics_write(out);
	hm_facts_metrics(out);
	hm_shape_metrics(out);
	hm_invalid_guard_metrics(out);
}

static void templates_now(void *arg, struct hm_templates_now *n)
{
	const struct hm_shard *s = arg;

	n->cfg = s->rt->cfg;
	n->channels = s->rt->channels;
	hm_engine_template_opts(s->rt->cfg, &n->opts);
}

static void callbacks_now(void *arg, struct hm_callbacks_now *n)
{
	const struct hm_shard *s = arg;

	n->settings = &s->rt->cfg->settings;
	n->channels = s->rt->channels;
}

static void on_driver_event(void *arg, struct hm_driver_event *ev)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	if (s->callbacks == NULL || s->closing)
		ev->done(ev, HM_EAGAIN);
	else
		hm_receipts_driver_event(s->callbacks, ev);
}

/* Jobs name templates, and channels may be paused: none is taken before all of that is known. */
static int start_pulling(struct hm_shard *s, struct hm_err *e)
{
	if (s->pulls || !hm_templates_loaded(s->en->templates) || !hm_pauses_loaded(s->en->pauses))
		return 0;
	s->pulls = true;
	if (hm_dispatch_start(s->dispatch, e) != 0)
		return e->code;
	if (s->redis_up) /* that was told before it began */
		hm_dispatch_redis_state(s->dispatch, true);
	return 0;
}

static int open_parts(struct hm_shard *s, struct hm_err *e)
{
	struct hm_engine *en = s->en;
	const struct hm_settings *set = &en->first_cfg->settings;
	struct hm_wire_opts wo;
	struct hm_dispatch_deps deps = {
		.tick = &s->tick,
		.mailbox = &s->mailbox,
		.ledger = en->ledger,
		.book = en->book,
		.cancels = en->cancels,
		.old = en->old,
		.shard = s->index,
		.shards = en->n_shards,
		.node_id = hm_str_c(en->node_id),
		.data_dir = hm_str_c(en->data_dir),
	};

	for (int i = 0; i < 8; i++)
		deps.boot_id[i] = (uint8_t)(en->boot_id >> (56 - 8 * i));
	s->templates.book = en->book;
	if (hm_tick_init(&s->tick, &s->loop) != 0)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	s->tick_ready = true;
	if (hm_mailbox_init(&s->mailbox, &s->tick, s) != 0)
		return hm_err_set(e, HM_EIO, "cannot make a mailbox");
	s->mailbox_ready = true;
	hm_engine_wire_opts(set, &wo);
	wo.on_event = on_driver_event;
	wo.event_arg = s;
	snprintf(s->consumer, sizeof(s->consumer), "%s.%u", en->node_id, s->index);
	s->inbox = hm_inbox_new(
		&(struct hm_inbox_deps){&s->tick, set->queue.prefix, hm_str_c(s->consumer), set});
	if (s->inbox == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	wo.drivers[HM_PROTO_INBOX].arg = s->inbox;
	if (hm_wire_new(&s->tick, &wo, &s->wire, e) != 0)
		return e->code;
	if (hm_redis_new(&s->tick, &en->redis_opts, &s->redis, e) != 0)
		return e->code;
	s->writer = hm_ledger_writer_new(en->ledger, &s->tick, &s->mailbox, on_durable, s);
	s->creds = hm_cred_shard_new(en->creds, &s->tick, &s->mailbox);
	if (s->writer == NULL || s->creds == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	s->facts = hm_facts_new(&(struct hm_facts_deps){&s->tick, s->redis, s->wire}, en->rt->cfg, e);
	if (s->facts == NULL)
		return e->code;
	s->gates = hm_gates_new(&(struct hm_gates_deps){&s->tick, s->redis, set->queue.prefix}, e);
	if (s->gates == NULL)
		return e->code;
	s->shaper = hm_shaper_new(&(struct hm_shaper_deps){&s->tick, s->redis, set->queue.prefix,
							   hm_str_c(s->consumer), en->pauses},
				  e);
	if (s->shaper == NULL)
		return e->code;
	s->guard = hm_invalid_guard_new(&s->tick, s->redis, set->queue.prefix);
	if (s->guard == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	s->receipts = hm_receipts_new(&(struct hm_receipts_deps){
		.tick = &s->tick,
		.redis = s->redis,
		.ledger = en->ledger,
		.writer = s->writer,
		.prefix = set->queue.prefix,
		.node_id = hm_str_c(en->node_id),
		.partitions = (uint32_t)set->queue.partitions,
		.follow = s->index == 0,
	});
	if (s->receipts == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	s->rt = hm_runtime_ref(en->rt);
	if (hm_inbox_open(s->inbox, s->redis, s->receipts, e) != 0)
		return e->code;
	s->callbacks = hm_callbacks_new(&(struct hm_callbacks_deps){
		.tick = &s->tick,
		.redis = s->redis,
		.ledger = en->ledger,
		.receipts = s->receipts,
		.wire = s->wire,
		.creds = s->creds,
		.prefix = set->queue.prefix,
		.partitions = (uint32_t)set->queue.partitions,
		.poll = s->index == 0,
		.now = callbacks_now,
		.arg = s,
	});
	if (s->callbacks == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	deps.gates = s->gates;
	deps.shaper = s->shaper;
	deps.guard = s->guard;
	deps.facts = s->facts;
	deps.redis = s->redis;
	deps.wire = s->wire;
	deps.writer = s->writer;
	deps.creds = s->creds;
	if (hm_dispatch_new(&deps, en->rt, &s->dispatch, e) != 0)
		return e->code;
	hm_redis_on_state(s->redis, on_redis_state, s);
	if (set->http.listen.n > 0) {
		const struct hm_http_table tables[] = {{hm_admin_routes, hm_admin_routes_n},
						       {hm_channels_routes, hm_channels_routes_n},
						       {hm_routes_routes, hm_routes_routes_n},
						       {hm_templates_routes, hm_templates_routes_n},
						       {hm_schedules_routes, hm_schedules_routes_n},
						       {hm_suppress_routes, hm_suppress_routes_n},
						       {hm_callbacks_routes, hm_callbacks_routes_n},
						       {hm_inbox_routes, hm_inbox_routes_n},
						       {hm_inbox_cors_routes, hm_inbox_cors_routes_n}};
		struct hm_http_deps hd = {
			.tick = &s->tick,
			.settings = &s->rt->cfg->settings,
			.shared = en->http_shared,
			.redis = s->redis,
			.ledger = en->ledger,
			.writer = s->writer,
			.boot_id = en->boot_id,
			.node_id = hm_str_c(en->node_id),
			.arg = s,
			.known = known,
			.ready = is_ready,
			.metrics = metrics,
			.extra = tables,
			.n_extra = hm_countof(tables),
			.templates = &s->tapi,
			.receipts = s->receipts,
			.callbacks = s->callbacks,
			.inbox = s->inbox,
		};

		s->tapi = (struct hm_templates_api){
			.templates = en->templates,
			.tick = &s->tick,
			.mailbox = &s->mailbox,
			.book = en->book,
			.prefix = set->queue.prefix,
			.now = templates_now,
			.arg = s,
		};
		if (hm_http_server_new(&hd, &s->http, e) != 0)
			return e->code;
		if (hm_http_server_listen(s->http, en->http_ports, e) != 0)
			return e->code;
		if (s->index == 0)
			for (size_t i = 0; i < hm_http_server_listeners(s->http) && i < HM_HTTP_PORTS_MAX;
			     i++)
				en->http_ports[i] = hm_http_server_port(s->http, i);
	}
	return start_pulling(s, e);
}

/* -- closing: in reverse order of opening, each step from the loop ---------------------------- */

static void close_rest(struct hm_shard *s)
{
	/* Records of the last moments: what has been recorded is not thrown away. */
	if (s->writer != NULL && hm_ledger_backlog(s->writer) > 0) {
		s->wait_for_disk = true;
		return;
	}
	if (s->dispatch != NULL)
		hm_dispatch_free(s->dispatch);
	s->dispatch = NULL;
	if (s->guard != NULL) /* its commands have been answered or failed with the connection */
		hm_invalid_guard_free(s->guard);
	s->guard = NULL;
	hm_callbacks_free(s->callbacks);
	s->callbacks = NULL;
	hm_inbox_free(s->inbox);
	s->inbox = NULL;
	hm_receipts_free(s->receipts);
	s->receipts = NULL;
	if (s->writer != NULL)
		hm_ledger_writer_close(s->writer);
	if (s->creds != NULL)
		hm_cred_shard_close(s->creds);
	s->writer = NULL;
	s->creds = NULL;
	hm_template_set_unref(s->templates.set);
	s->templates.set = NULL;
	hm_runtime_unref(s->rt);
	hm_runtime_unref(s->http_rt);
	s->rt = s->http_rt = NULL;
	if (s->mailbox_ready)
		hm_mailbox_close(&s->mailbox);
	if (s->tick_ready)
		hm_tick_close(&s->tick);
}

static void part_closed(void *arg)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	hm_assert(s->closing_parts > 0);
	if (--s->closing_parts == 0)
		close_rest(s);
}

static void close_connections(void *arg)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	s->shaper = NULL;
	s->closing_parts = 1;
	if (s->wire != NULL) {
		s->closing_parts++;
		hm_wire_close(s->wire, part_closed, s);
	}
	if (s->redis != NULL) {
		s->closing_parts++;
		hm_redis_close(s->redis, part_closed, s);
	}
	part_closed(s);
}

static void close_shaper(void *arg)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	s->gates = NULL;
	if (s->shaper != NULL)
		hm_shaper_close(s->shaper, close_connections, s);
	else
		close_connections(s);
}

static void close_gates(void *arg)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	s->facts = NULL;
	if (s->gates != NULL)
		hm_gates_close(s->gates, close_shaper, s);
	else
		close_shaper(s);
}

static void close_middle(void *arg)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	if (s->dispatch != NULL)
		hm_dispatch_close(s->dispatch);
	if (s->facts != NULL)
		hm_facts_close(s->facts, close_gates, s);
	else
		close_gates(s);
}

static void close_receipts(void *arg)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	if (s->receipts != NULL)
		hm_receipts_close(s->receipts, close_middle, s);
	else
		close_middle(s);
}

static void close_callbacks(void *arg)
{
	struct hm_shard *s = arg;

	HM_CHECK(s, SHARD_MAGIC);
	s->http = NULL;
	if (s->inbox != NULL)
		hm_inbox_close(s->inbox);
	if (s->callbacks != NULL)
		hm_callbacks_close(s->callbacks, close_receipts, s);
	else
		close_receipts(s);
}

/* HTTP first: its answers still need Redis and the ledger. */
static void close_parts(struct hm_shard *s)
{
	s->closing = true;
	if (s->http != NULL)
		hm_http_server_close(s->http, HTTP_CLOSE_MS, close_callbacks, s);
	else
		close_callbacks(s);
}

/* -- the thread ------------------------------------------------------------------------------ */

static void pin(uint32_t index)
{
	cpu_set_t all, one;
	int nth = (int)index;

	if (sched_getaffinity(0, sizeof(all), &all) != 0)
		return;
	nth %= CPU_COUNT(&all);
	for (size_t c = 0; c < CPU_SETSIZE; c++) {
		if (!CPU_ISSET(c, &all) || nth-- > 0)
			continue;
		CPU_ZERO(&one);
		CPU_SET(c, &one);
		(void)pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
		return;
	}
}

static void print_shard(const void *obj, char *out, size_t cap)
{
	const struct hm_shard *s = obj;

	snprintf(out, cap, "shard %u%s", s->index, s->draining ? ", draining" : "");
}

static void ignore(void *arg)
{
}

static void *run(void *arg)
{
	struct hm_shard *s = arg;
	struct hm_panic_printer printer = {.what = "shard", .print = print_shard, .obj = s};
	struct hm_err e = {0};
	char name[16];

	HM_CHECK(s, SHARD_MAGIC);
	snprintf(name, sizeof(name), "%u", s->index);
	hm_log_thread("shard", name);
	snprintf(name, sizeof(name), "shard-%u", s->index & 0xffff);
	(void)pthread_setname_np(pthread_self(), name);
	if (s->en->first_cfg->settings.node.pin_cpus)
		pin(s->index);
	hm_panic_thread();
	hm_panic_push(&printer);
	if (uv_loop_init(&s->loop) != 0) {
		hm_err_set(&e, HM_EIO, "cannot make an event loop");
		tell(s, false, &e);
		tell(s, true, NULL);
		return NULL;
	}
	if (open_parts(s, &e) != 0) {
		tell(s, false, &e);
		s->draining = true;
		if (s->dispatch != NULL) /* nothing was pulled: this ends at once */
			hm_dispatch_drain(s->dispatch, 0, ignore, NULL);
		close_parts(s);
	} else {
		HM_DEBUG(LOOP, "shard runs");
		tell(s, false, NULL);
	}
	uv_run(&s->loop, UV_RUN_DEFAULT);
	if (s->tick_ready)
		hm_tick_fini(&s->tick);
	hm_assert(uv_loop_close(&s->loop) == 0);
	hm_panic_pop(&printer);
	tell(s, true, NULL);
	return NULL;
}

int hm_shard_start(struct hm_engine *en, uint32_t index, struct hm_shard **s_r, struct hm_err *e)
{
	struct hm_shard *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	HM_MAGIC_SET(s, SHARD_MAGIC);
	s->en = en;
	s->index = index;
	if (pthread_create(&s->thread, NULL, run, s) != 0) {
		free(s);
		return hm_err_set(e, HM_EIO, "cannot start the thread of shard %u", index);
	}
	*s_r = s;
	return 0;
}

void hm_shard_join(struct hm_shard *s)
{
	HM_CHECK(s, SHARD_MAGIC);
	pthread_join(s->thread, NULL);
	HM_MAGIC_CLEAR(s);
	free(s);
}

/* -- mail from the control thread -------------------------------------------------------------- */

struct order {
	struct hm_mail mail;
	struct hm_runtime *rt;
	uint64_t limit_ms;
};

static void post(struct hm_shard *s, void (*deliver)(struct hm_mail *, void *), struct hm_runtime *rt,
		 uint64_t limit_ms)
{
	struct order *o;

	if (!s->takes_mail) {
		hm_runtime_unref(rt);
		return;
	}
	o = calloc(1, sizeof(*o));
	if (o == NULL)
		hm_panic(__FILE__, __LINE__, __func__, "no memory for mail");
	o->mail.deliver = deliver;
	o->rt = rt;
	o->limit_ms = limit_ms;
	hm_mailbox_post(&s->mailbox, &o->mail);
}

static void do_reload(struct hm_mail *m, void *owner)
{
	struct order *o = hm_container_of(m, struct order, mail);
	struct hm_shard *s = owner;

	if (!s->closing && !s->draining) {
		struct hm_runtime *old = s->rt;
		struct hm_err e = {0};

		s->rt = hm_runtime_ref(o->rt);
		hm_inbox_reload(s->inbox, &s->rt->cfg->settings);
		hm_facts_reload(s->facts, o->rt->cfg);
		hm_dispatch_reload(s->dispatch, o->rt);
		/* The server's settings must outlive it: when it cannot use the new ones, the old snapshot stays. */
		if (s->http != NULL && hm_http_server_reload(s->http, &s->rt->cfg->settings, &e) != 0) {
			HM_ERROR(HTTP, "the HTTP settings stay as they are", HM_E(&e));
			if (s->http_rt == NULL)
				s->http_rt = hm_runtime_ref(old);
		} else {
			hm_runtime_unref(s->http_rt);
			s->http_rt = NULL;
		}
		hm_runtime_unref(old);
	}
	hm_runtime_unref(o->rt);
	free(o);
}

static void on_dispatch_drained(void *arg)
{
	struct hm_shard *s = arg;

	if (!s->closing)
		close_parts(s);
}

static void do_drain(struct hm_mail *m, void *owner)
{
	struct order *o = hm_container_of(m, struct order, mail);
	struct hm_shard *s = owner;

	if (!s->draining && !s->closing) {
		s->draining = true;
		if (s->http != NULL)
			hm_http_server_drain(s->http);
		hm_dispatch_drain(s->dispatch, o->limit_ms, on_dispatch_drained, s);
	}
	free(o);
}

static void do_loaded(struct hm_mail *m, void *owner)
{
	struct hm_shard *s = owner;
	struct hm_err e = {0};

	if (!s->closing && !s->draining && start_pulling(s, &e) != 0)
		hm_panic(__FILE__, __LINE__, __func__, "cannot take jobs: %s", e.text);
	free(hm_container_of(m, struct order, mail));
}

static void do_clock(struct hm_mail *m, void *owner)
{
	struct hm_shard *s = owner;

	if (!s->closing)
		hm_tick_refresh(&s->tick);
	free(hm_container_of(m, struct order, mail));
}

void hm_shard_opened(struct hm_shard *s, bool ok)
{
	HM_CHECK(s, SHARD_MAGIC);
	s->takes_mail = ok;
}

void hm_shard_reload(struct hm_shard *s, struct hm_runtime *rt)
{
	post(s, do_reload, hm_runtime_ref(rt), 0);
}

void hm_shard_drain(struct hm_shard *s, uint64_t limit_ms)
{
	post(s, do_drain, NULL, limit_ms);
}

void hm_shard_loaded(struct hm_shard *s)
{
	post(s, do_loaded, NULL, 0);
}

static void do_pauses(struct hm_mail *m, void *owner)
{
	struct hm_shard *s = owner;

	if (!s->closing && s->shaper != NULL)
		hm_shaper_look(s->shaper);
	free(hm_container_of(m, struct order, mail));
}

void hm_shard_pauses(struct hm_shard *s)
{
	post(s, do_pauses, NULL, 0);
}

struct stop {
	struct hm_mail mail;
	uint64_t account, ms;
	size_t len;
	char channel[];
};

static void do_stop(struct hm_mail *m, void *owner)
{
	struct stop *o = hm_container_of(m, struct stop, mail);
	struct hm_shard *s = owner;

	if (!s->closing && s->shaper != NULL)
		hm_shaper_stop(s->shaper, hm_str_n(o->channel, o->len), o->account, o->ms);
	free(o);
}

void hm_shard_stop(struct hm_shard *s, struct hm_str channel, uint64_t account, uint64_t ms)
{
	struct stop *o = s->takes_mail ? calloc(1, sizeof(*o) + channel.len) : NULL;

	if (o == NULL)
		return;
	o->mail.deliver = do_stop;
	o->account = account;
	o->ms = ms;
	o->len = channel.len;
	if (channel.len)
		memcpy(o->channel, channel.p, channel.len);
	hm_mailbox_post(&s->mailbox, &o->mail);
}

void hm_shard_clock(struct hm_shard *s)
{
	post(s, do_clock, NULL, 0);
}

/* -- asked by handlers on this thread -------------------------------------------------------------- */

struct hm_engine *hm_shard_engine(const struct hm_shard *s)
{
	HM_CHECK(s, SHARD_MAGIC);
	return s->en;
}

struct hm_redis *hm_shard_redis(const struct hm_shard *s)
{
	HM_CHECK(s, SHARD_MAGIC);
	return s->redis;
}

const struct hm_runtime *hm_shard_runtime(const struct hm_shard *s)
{
	HM_CHECK(s, SHARD_MAGIC);
	return s->rt;
}

void hm_shard_describe(const struct hm_shard *s, struct hm_buf *out)
{
	HM_CHECK(s, SHARD_MAGIC);
	hm_buf_lit(out, "{\"dispatch\":");
	hm_dispatch_describe(s->dispatch, out);
	hm_buf_lit(out, ",\"wire\":");
	hm_wire_describe(s->wire, out);
	hm_buf_lit(out, ",\"facts\":");
	hm_facts_describe(s->facts, out);
	hm_buf_lit(out, ",\"gates\":");
	hm_gates_describe(s->gates, out);
	hm_buf_lit(out, ",\"shape\":");
	hm_shaper_describe(s->shaper, out);
	hm_buf_lit(out, ",\"inbox\":");
	hm_inbox_describe(s->inbox, out);
	hm_buf_lit(out, ",\"invalid_guard\":");
	hm_invalid_guard_describe(s->guard, out);
	hm_buf_putc(out, '}');
}

static void deliver_reload(struct hm_mail *m, void *owner)
{
	hm_engine_reload(owner);
	free(hm_container_of(m, struct order, mail));
}

static void deliver_clock(struct hm_mail *m, void *owner)
{
	hm_engine_clock(owner);
	free(hm_container_of(m, struct order, mail));
}

static void ask(struct hm_shard *s, void (*deliver)(struct hm_mail *, void *))
{
	struct order *o = calloc(1, sizeof(*o));

	if (o == NULL)
		return;
	o->mail.deliver = deliver;
	hm_mailbox_post(&s->en->mailbox, &o->mail);
}

void hm_shard_ask_reload(struct hm_shard *s)
{
	ask(s, deliver_reload);
}

void hm_shard_ask_clock(struct hm_shard *s)
{
	ask(s, deliver_clock);
}
