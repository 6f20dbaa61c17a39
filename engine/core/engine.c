/*
 * engine.c - `hermod run`: the program from start to exit
 *
 * Reads top to bottom in the order of a process' life: prepare (configuration, data
 * directory, Redis, snapshot, ledger), start the shards, run, react to signals, drain,
 * take apart in reverse.
 */
#include <errno.h>
#include <fcntl.h>
#include <openssl/rand.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fault.h"
#include "base/log.h"
#include "core/control.h"
#include "core/drivers.h"
#include "core/engine.h"
#include "core/nodes.h"
#include "core/preflight.h"
#include "core/shard.h"
#include "shape/pauses.h"
#include "ingest/cancel_mark.h"
#include "loop/addr.h"

#define EMBEDDED_START_MS 30000
#define EMBEDDED_STOP_MS  10000
#define SLOW_MS		  1000

void hm_print_error(void *arg, const struct hm_err *e)
{
	char line[1024];

	hm_err_format(e, line, sizeof(line));
	fprintf(stderr, "hermod: %s\n", line);
}

/* -- settings -> options -------------------------------------------------------------------- */

void hm_engine_redis_opts(const struct hm_settings *s, struct hm_str url, struct hm_redis_opts *o)
{
	*o = (struct hm_redis_opts){
		.url = url,
		.username = s->redis.username,
		.password = s->redis.password,
		.ca_file = s->redis.ca_file,
		.cert_file = s->redis.cert_file,
		.key_file = s->redis.key_file,
		.tls_verify = s->redis.tls_verify,
		.connect_timeout_ms = (uint32_t)s->redis.connect_timeout_ms,
		.command_timeout_ms = (uint32_t)s->redis.command_timeout_ms,
		.max_pending = 1000000,
		.client_name = HM_STR("hermod"),
	};
}

void hm_engine_wire_opts(const struct hm_settings *s, struct hm_wire_opts *o)
{
	*o = (struct hm_wire_opts){
		.max_connections = (uint32_t)s->wire.max_connections_per_origin,
		.max_streams = (uint32_t)s->wire.max_streams_per_connection,
		.queue_max = (uint32_t)s->wire.queue_max,
		.connect_timeout_ms = (uint32_t)s->wire.connect_timeout_ms,
		.idle_ping_ms = (uint32_t)s->wire.idle_ping_ms,
		.idle_close_ms = (uint32_t)s->wire.idle_close_ms,
		.max_response_bytes = s->wire.max_response_bytes,
		.max_header_bytes = 32768,
		.ca_file = s->wire.ca_file,
		.verify = s->wire.tls_verify,
		.tls_min = s->wire.tls_min.text,
	};
	hm_drivers_fill(o);
}

void hm_engine_ledger_opts(const struct hm_settings *s, struct hm_ledger_opts *o)
{
	*o = (struct hm_ledger_opts){
		.dir = s->ledger.dir,
		.sync = s->ledger.sync.index == HM_SYNC_OFF	   ? HM_LEDGER_SYNC_OFF
			: s->ledger.sync.index == HM_SYNC_INTERVAL ? HM_LEDGER_SYNC_INTERVAL
								   : HM_LEDGER_SYNC_ALWAYS,
		.sync_interval_ms = (uint32_t)s->ledger.group_commit_ms,
		.ttl_s = (uint32_t)(s->ledger.ttl_ms / 1000),
		.batch_wait_us = (uint32_t)s->ledger.batch_wait_ms * 1000,
		.cache_bytes = s->ledger.cache_bytes,
		.queue_max_bytes = s->ledger.queue_max,
	};
}

/* -- templates -------------------------------------------------------------------------------- */

static bool fact_known(void *arg, struct hm_str name)
{
	return hm_config_fact(arg, name) != NULL;
}

void hm_engine_template_opts(const struct hm_config *cfg, struct hm_template_opts *o)
{
	*o = (struct hm_template_opts){
		.settings = &cfg->settings,
		.fact_known = fact_known,
		.arg = (void *)(uintptr_t)cfg,
	};
}

int hm_engine_load_templates(struct hm_book *b, const struct hm_config *cfg, hm_report_fn report, void *arg)
{
	struct hm_template_opts o;

	hm_engine_template_opts(cfg, &o);
	return hm_book_load_files(b, cfg->settings.templates.dir, &o, report, arg);
}

/* -- prepare -------------------------------------------------------------------------------- */

static int make_dirs(const char *path, struct hm_err *e)
{
	char p[1100];

	snprintf(p, sizeof(p), "%s", path);
	for (char *c = p + 1;; c++) {
		char was = *c;

		if (was != '/' && was != '\0')
			continue;
		*c = '\0';
		if (mkdir(p, 0750) != 0 && errno != EEXIST)
			return hm_err_set(e, HM_EIO, "cannot create the data directory %s: %s", p,
					  strerror(errno));
		*c = was;
		if (was == '\0')
			return 0;
	}
}

static int prepare_data_dir(struct hm_engine *en, struct hm_err *e)
{
	const struct hm_settings *s = &en->first_cfg->settings;
	char path[1100];

	if (s->node.data_dir.len >= sizeof(en->data_dir))
		return hm_err_set(e, HM_EINVAL, "node.data_dir is too long");
	snprintf(en->data_dir, sizeof(en->data_dir), "%.*s", HM_STRF(s->node.data_dir));
	if (make_dirs(en->data_dir, e) != 0)
		return e->code;
	snprintf(path, sizeof(path), "%s/lock", en->data_dir);
	en->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
	if (en->lock_fd < 0)
		return hm_err_set(e, HM_EIO, "cannot write in the data directory %s: %s", en->data_dir,
				  strerror(errno));
	if (flock(en->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return hm_err_set(e, HM_EEXIST, "another hermod uses the data directory %s (lock file %s)",
				  en->data_dir, path);
	snprintf(en->node_id, sizeof(en->node_id), "%.*s", HM_STRF(s->node.name));
	return 0;
}

static int prepare_log(const struct hm_settings *s, struct hm_err *e)
{
	if (hm_log_set_levels(s->log.level, e) != 0)
		return hm_err_wrap(e, "log.level");
	return hm_log_open(s->log.file.len ? s->log.file.p : NULL, (enum hm_log_format)s->log.format.index,
			   e);
}

static int prepare_redis(struct hm_engine *en, struct hm_err *e)
{
	const struct hm_settings *s = &en->first_cfg->settings;
	struct hm_str url = s->redis.url;

	if (hm_str_is(url, "embedded")) {
		struct hm_embedded_opts o = {
			.binary = s->redis.binary,
			.data_dir = hm_str_c(en->data_dir),
			.appendfsync = s->redis.appendfsync.text,
			.maxmemory = s->redis.maxmemory,
		};

		if (hm_embedded_start(&en->tick, &o, EMBEDDED_START_MS, &en->embedded, e) != 0)
			return e->code;
		url = hm_embedded_url(en->embedded);
	}
	snprintf(en->redis_url, sizeof(en->redis_url), "%.*s", HM_STRF(url));
	hm_engine_redis_opts(s, hm_str_c(en->redis_url), &en->redis_opts);
	return hm_redis_new(&en->tick, &en->redis_opts, &en->redis, e);
}

/* SO_REUSEPORT, which lets the shards share a port, would let a second program share it as well: so each address is
 * first bound without it, which fails when somebody else listens there. Whatever else is wrong with it shows here,
 * too, before anything has been started. */
static int probe_port(struct hm_str text, struct hm_err *e)
{
	struct sockaddr_storage addr;
	struct hm_str host = text;
	uint64_t port = 0;
	int fd, one = 1, err = 0;

	while (host.len && host.p[host.len - 1] != ':')
		host.len--;
	if (host.len == 0 || !hm_str_u64(hm_str_n(text.p + host.len, text.len - host.len), &port) ||
	    port == 0 || port > 65535)
		return 0; /* a free port, or a unix socket */
	host.len--;
	if (host.len > 2 && host.p[0] == '[')
		host = hm_str_n(host.p + 1, host.len - 2);
	if (hm_str_is(host, "localhost"))
		host = HM_STR("127.0.0.1");
	if (host.len == 0 || hm_str_is(host, "*"))
		host = HM_STR("0.0.0.0");
	if (!hm_addr_parse(host, (uint16_t)port, &addr))
		return hm_err_set(
			e, HM_ECONFIG,
			"cannot listen on %.*s: addresses of this machine are given as numbers, such as "
			"127.0.0.1 or 0.0.0.0 (http.listen)",
			HM_STRF(text));
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		err = bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ? errno : 0;
		close(fd);
	}
	if (err == 0)
		return 0;
	return hm_err_set(e, err == EADDRINUSE ? HM_EEXIST : HM_EIO,
			  "cannot listen on %.*s: %s (http.listen)", HM_STRF(text),
			  err == EADDRINUSE ? "another program uses this port"
			  : err == EACCES   ? "ports below 1024 need a permission this user does not have"
			  : err == EADDRNOTAVAIL ? "this machine does not have that address"
						 : strerror(err));
}

static int probe_ports(const struct hm_settings *s, struct hm_err *e)
{
	for (size_t i = 0; i < s->http.listen.n; i++)
		if (probe_port(hm_str_trim(s->http.listen.v[i]), e) != 0)
			return e->code;
	return 0;
}

/* Where the API listens, with the ports the kernel chose. */
static void describe_api(const struct hm_engine *en, char *out, size_t cap)
{
	const struct hm_settings *s = &en->first_cfg->settings;
	const char *scheme = s->http.tls_cert.len ? "https" : "http";
	size_t at = 0;

	snprintf(out, cap, "off");
	for (size_t i = 0; i < s->http.listen.n && i < HM_HTTP_PORTS_MAX && at < cap; i++) {
		struct hm_str text = hm_str_trim(s->http.listen.v[i]), host = text;

		while (host.len && host.p[host.len - 1] != ':')
			host.len--;
		if (hm_str_starts(text, HM_STR("unix:")))
			at += (size_t)snprintf(out + at, cap - at, "%s%.*s", i ? " " : "", HM_STRF(text));
		else
			at += (size_t)snprintf(out + at, cap - at, "%s%s://%.*s%u", i ? " " : "", scheme,
					       HM_STRF(host), en->http_ports[i]);
	}
}

/* All that was managed when the process began is in the book: shards may take jobs. */
static void on_templates_loaded(void *arg)
{
	struct hm_engine *en = arg;

	HM_CHECK(en, HM_ENGINE_MAGIC);
	for (uint32_t i = 0; i < en->started && !en->draining; i++)
		hm_shard_loaded(en->shards[i]);
}

void hm_engine_pauses(struct hm_engine *en)
{
	for (uint32_t i = 0; i < en->started && !en->draining; i++) {
		hm_shard_pauses(en->shards[i]);
		hm_shard_loaded(en->shards[i]);
	}
}

void hm_engine_stop(struct hm_engine *en, struct hm_str channel, uint64_t account, uint64_t ms)
{
	for (uint32_t i = 0; i < en->started && !en->draining; i++)
		hm_shard_stop(en->shards[i], channel, account, ms);
}

static int prepare_templates(struct hm_engine *en, struct hm_err *e)
{
	struct hm_templates_deps d = {
		.tick = &en->tick,
		.redis = en->redis,
		.mailbox = &en->mailbox,
		.book = en->book,
		.prefix = en->first_cfg->settings.queue.prefix,
		.interval_ms = en->rt->cfg->settings.templates.sync_interval_ms,
		.on_loaded = on_templates_loaded,
		.arg = en,
	};

	hm_engine_template_opts(en->rt->cfg, &d.opts);
	en->templates = hm_templates_new(&d);
	return en->templates ? 0 : hm_err_set(e, HM_ENOMEM, "out of memory");
}

static uint32_t count_shards(const struct hm_settings *s)
{
	cpu_set_t cpus;

	if (s->node.shards > 0)
		return (uint32_t)s->node.shards;
	if (sched_getaffinity(0, sizeof(cpus), &cpus) != 0)
		return 1;
	return (uint32_t)hm_max(CPU_COUNT(&cpus), 1);
}

static void raise_fd_limit(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

static int prepare(struct hm_engine *en, struct hm_err *e)
{
	const struct hm_settings *s = &en->first_cfg->settings;
	struct hm_ledger_opts lo;
	struct hm_wire_opts wo;
	char cred_keys[96];

	raise_fd_limit();
	if (RAND_bytes((unsigned char *)&en->boot_id, (int)sizeof(en->boot_id)) != 1)
		return hm_err_set(e, HM_EIO, "no random numbers");
	if (prepare_data_dir(en, e) != 0)
		return e->code;
	if (probe_ports(s, e) != 0)
		return e->code;
	hm_engine_ledger_opts(s, &lo);
	if (hm_ledger_open(&lo, &en->ledger, e) != 0)
		return e->code;
	if (hm_inflight_load(hm_str_c(en->data_dir), &en->old, e) != 0)
		return e->code;
	if (hm_inflight_old_count(en->old) > 0)
		HM_INFO(CORE, "messages were in flight when the last run ended",
			HM_U("messages", hm_inflight_old_count(en->old)));
	if (prepare_redis(en, e) != 0)
		return e->code;
	hm_engine_wire_opts(s, &wo);
	if (hm_wire_new(&en->tick, &wo, &en->wire, e) != 0)
		return e->code;
	if (hm_cred_service_new(&en->tick, &en->mailbox, en->wire, &en->creds, e) != 0)
		return e->code;
	if (hm_cred_service_share(
		    en->creds, en->redis,
		    hm_str_n(cred_keys, hm_ctl_key(s->queue.prefix, "cred:", cred_keys, sizeof(cred_keys))),
		    e) != 0)
		return e->code;
	en->cancels = hm_cancel_new();
	en->http_shared = hm_http_shared_new();
	en->pauses = hm_pauses_new();
	if (en->cancels == NULL || en->http_shared == NULL || en->pauses == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (prepare_templates(en, e) != 0)
		return e->code;
	if (hm_control_start(en, &en->control, e) != 0)
		return e->code;
	en->n_shards = count_shards(s);
	en->shards = calloc(en->n_shards, sizeof(*en->shards));
	if (en->shards == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	return 0;
}

/* -- take apart ------------------------------------------------------------------------------- */

static void loop_until(struct hm_engine *en, const bool *flag)
{
	while (!*flag)
		uv_run(&en->loop, UV_RUN_ONCE);
}

static void set_flag(void *arg)
{
	*(bool *)arg = true;
}

static void take_apart(struct hm_engine *en)
{
	struct hm_err e = {0};

	for (size_t i = 0; i < en->n_signals; i++)
		uv_close((uv_handle_t *)&en->signals[i], NULL);
	if (en->control != NULL)
		hm_control_stop(en->control);
	hm_nodes_stop(en->nodes);
	if (en->templates != NULL)
		hm_templates_stop(en->templates);
	if (en->creds != NULL)
		hm_cred_service_close(en->creds);
	if (en->wire != NULL) {
		hm_wire_abort(en->wire);
		hm_wire_close(en->wire, set_flag, &en->wire_closed);
		loop_until(en, &en->wire_closed);
	}
	if (en->redis != NULL) {
		hm_redis_close(en->redis, set_flag, &en->redis_closed);
		loop_until(en, &en->redis_closed);
	}
	hm_control_free(en->control);
	hm_nodes_free(en->nodes);
	hm_templates_free(en->templates);
	if (en->ledger != NULL)
		hm_ledger_close(en->ledger);
	if (en->embedded != NULL) {
		hm_embedded_stop(en->embedded, EMBEDDED_STOP_MS, set_flag, &en->embedded_stopped);
		loop_until(en, &en->embedded_stopped);
	}
	hm_timer_stop(&en->tick, &en->slow);
	hm_mailbox_close(&en->mailbox);
	hm_tick_close(&en->tick);
	uv_run(&en->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&en->tick);
	if (uv_loop_close(&en->loop) != 0)
		HM_WARN(CORE, "the control loop did not close cleanly", HM_E(&e));
	hm_cancel_free(en->cancels);
	hm_pauses_free(en->pauses);
	hm_http_shared_free(en->http_shared);
	hm_inflight_old_free(en->old);
	hm_runtime_unref(en->rt);
	hm_book_free(en->book);
	hm_config_unref(en->first_cfg);
	free(en->shards);
	if (en->lock_fd >= 0)
		close(en->lock_fd);
	hm_log_flush(true);
	hm_stats_free_all();
	HM_MAGIC_CLEAR(en);
}

/* -- run -------------------------------------------------------------------------------------- */

static void drain(struct hm_engine *en)
{
	if (en->draining)
		return;
	en->draining = true;
	HM_INFO(CORE, "draining", HM_U("limit_ms", en->rt->cfg->settings.node.drain_timeout_ms));
	for (uint32_t i = 0; i < en->started; i++)
		hm_shard_drain(en->shards[i], en->rt->cfg->settings.node.drain_timeout_ms);
}

static void on_slow(struct hm_timer *t)
{
	struct hm_engine *en = hm_container_of(t, struct hm_engine, slow);

	hm_log_flush(false); /* folded repeats */
	hm_timer_start(&en->tick, &en->slow, SLOW_MS);
}

static void start_shard(struct hm_engine *en)
{
	struct hm_err e = {0};

	if (hm_shard_start(en, en->started, &en->shards[en->started], &e) == 0) {
		en->started++;
		return;
	}
	hm_print_error(NULL, &e);
	en->failed = true;
	en->exit_code = 1;
}

/* Shard 0 starts alone: it finds out whether the ports are free, and which ones the kernel chose. */
static void start_others(struct hm_engine *en)
{
	while (en->started < en->n_shards && !en->failed && !en->draining)
		start_shard(en);
}

void hm_engine_shard_ready(struct hm_engine *en, uint32_t index, const struct hm_err *failed)
{
	char api[512];

	HM_CHECK(en, HM_ENGINE_MAGIC);
	en->ready++;
	hm_shard_opened(en->shards[index], failed == NULL);
	/* Perhaps while it was opening: */
	if (hm_templates_loaded(en->templates))
		hm_shard_loaded(en->shards[index]);
	hm_shard_pauses(en->shards[index]);
	if (en->draining) /* the order came before it could take it */
		hm_shard_drain(en->shards[index], en->rt->cfg->settings.node.drain_timeout_ms);
	if (failed == NULL && index == 0 && en->n_shards > 1)
		start_others(en);
	if (failed != NULL) {
		if (!en->failed)
			hm_print_error(NULL, failed);
		en->failed = true;
		en->exit_code = 1;
	}
	if (en->ready < en->started)
		return;
	if (en->failed)
		drain(en);
	if (en->draining)
		return;
	describe_api(en, api, sizeof(api));
	if (en->nodes == NULL)
		en->nodes = hm_nodes_start(en, api);
	HM_INFO(CORE, "hermod is up", HM_S("version", HM_VERSION), HM_S("node", en->node_id),
		HM_S("api", api), HM_U("shards", en->n_shards),
		HM_S("redis", en->embedded ? "embedded" : "given"), HM_U("channels", en->rt->channels->n));
	if (en->reload_later)
		hm_engine_reload(en);
}

void hm_engine_shard_ended(struct hm_engine *en, uint32_t index)
{
	HM_CHECK(en, HM_ENGINE_MAGIC);
	en->ended++;
}

static void on_change(void *arg, const char *what, bool in_effect)
{
	if (in_effect)
		HM_INFO(CORE, "configuration changed", HM_S("what", what));
	else
		HM_WARN(CORE, "configuration changed, but this needs a restart", HM_S("what", what));
}

static void log_error(void *arg, const struct hm_err *e)
{
	char line[1024];

	hm_err_format(e, line, sizeof(line));
	HM_ERROR(CORE, "configuration error", HM_S("error", line));
}

void hm_engine_reload(struct hm_engine *en)
{
	struct hm_template_opts topts;
	struct hm_config *cfg;
	struct hm_runtime *rt;
	struct hm_err e = {0};

	if (en->draining)
		return;
	if (en->templates == NULL ||
	    en->ready < en->n_shards) { /* still starting: when all shards are there */
		en->reload_later = true;
		return;
	}
	en->reload_later = false;
	if (hm_config_load(en->config_path, en->sets, &cfg, log_error, NULL) != 0) {
		HM_ERROR(CORE, "the configuration was not reloaded; the old one keeps running");
		return;
	}
	if (hm_preflight(cfg, log_error, NULL) != 0) {
		HM_ERROR(CORE, "the configuration was not reloaded; the old one keeps running");
		hm_config_unref(cfg);
		return;
	}
	if (hm_runtime_build(cfg, &rt, log_error, NULL) != 0) {
		HM_ERROR(CORE, "the configuration was not reloaded; the old one keeps running");
		return;
	}
	if (hm_engine_load_templates(en->book, rt->cfg, log_error, NULL) != 0) {
		HM_ERROR(CORE, "the configuration was not reloaded; the old one keeps running");
		hm_runtime_unref(rt);
		return;
	}
	hm_config_diff(en->rt->cfg, rt->cfg, on_change, NULL);
	if (prepare_log(&rt->cfg->settings, &e) != 0)
		HM_ERROR(CORE, "the log stays as it is", HM_E(&e));
	hm_engine_template_opts(rt->cfg, &topts); /* before the settings they were compiled with go */
	hm_templates_configure(en->templates, &topts, rt->cfg->settings.templates.sync_interval_ms);
	hm_runtime_unref(en->rt);
	en->rt = rt;
	for (uint32_t i = 0; i < en->started; i++)
		hm_shard_reload(en->shards[i], rt);
	HM_INFO(CORE, "configuration reloaded", HM_U("channels", rt->channels->n));
}

void hm_engine_clock(struct hm_engine *en)
{
	hm_tick_refresh(&en->tick);
	for (uint32_t i = 0; i < en->started; i++)
		if (!en->draining)
			hm_shard_clock(en->shards[i]);
}

static void on_signal(uv_signal_t *h, int signum)
{
	struct hm_engine *en = h->data;

	HM_CHECK(en, HM_ENGINE_MAGIC);
	if (signum == SIGHUP) {
		hm_engine_reload(en);
		return;
	}
	if (en->draining && signum == SIGINT) {
		/* A second Ctrl-C: what is in flight is settled as after a crash. */
		HM_WARN(CORE, "stopped without draining");
		_exit(130);
	}
	HM_INFO(CORE, "signal", HM_S("name", strsignal(signum)));
	drain(en);
}

static void watch_signals(struct hm_engine *en)
{
	static const int which[] = {SIGTERM, SIGINT, SIGHUP};

	(void)signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < hm_countof(which); i++) {
		uv_signal_t *s = &en->signals[en->n_signals];

		if (uv_signal_init(&en->loop, s) != 0)
			continue;
		s->data = en;
		en->n_signals++;
		(void)uv_signal_start(s, on_signal, which[i]);
	}
}

int hm_engine_run(const char *config_path, const char *const *sets)
{
	struct hm_engine *en = calloc(1, sizeof(*en));
	struct hm_config *cfg;
	struct hm_err e = {0};
	int code;

	if (en == NULL)
		return 1;
	HM_MAGIC_SET(en, HM_ENGINE_MAGIC);
	en->config_path = config_path;
	en->sets = sets;
	en->lock_fd = -1;
	hm_panic_install("hermod");
	if (hm_fault_init(getenv("HERMOD_FAULTS"), &e) != 0) {
		hm_print_error(NULL, &e);
		free(en);
		return 2;
	}
	if (hm_config_load(config_path, sets, &cfg, hm_print_error, NULL) != 0) {
		free(en);
		return 2;
	}
	if (hm_preflight(cfg, hm_print_error, NULL) != 0) {
		hm_config_unref(cfg);
		free(en);
		return 2;
	}
	en->first_cfg = hm_config_ref(cfg);
	en->book = hm_book_new();
	if (en->book == NULL)
		hm_panic(__FILE__, __LINE__, __func__, "no memory at start");
	if (prepare_log(&cfg->settings, &e) != 0 ||
	    hm_runtime_build(hm_config_ref(cfg), &en->rt, hm_print_error, NULL) != 0 ||
	    hm_engine_load_templates(en->book, cfg, hm_print_error, NULL) != 0) {
		if (e.code != 0)
			hm_print_error(NULL, &e);
		hm_runtime_unref(en->rt);
		hm_book_free(en->book);
		hm_config_unref(cfg);
		hm_config_unref(en->first_cfg);
		free(en);
		return 2;
	}
	hm_config_unref(cfg);
	hm_assert(uv_loop_init(&en->loop) == 0);
	if (hm_tick_init(&en->tick, &en->loop) != 0 || hm_mailbox_init(&en->mailbox, &en->tick, en) != 0)
		hm_panic(__FILE__, __LINE__, __func__, "no memory at start");
	hm_log_thread("thread", "control");
	hm_timer_init(&en->slow, on_slow);
	hm_timer_start(&en->tick, &en->slow, SLOW_MS);
	watch_signals(en);
	if (prepare(en, &e) != 0) {
		hm_print_error(NULL, &e);
		take_apart(en);
		free(en);
		return 1;
	}
	if (!en->draining) /* a signal may have come already */
		start_shard(en);
	while (en->ended < en->started)
		uv_run(&en->loop, UV_RUN_ONCE);
	for (uint32_t i = 0; i < en->started; i++)
		hm_shard_join(en->shards[i]);
	code = en->exit_code;
	HM_INFO(CORE, "hermod ends", HM_I("code", code));
	take_apart(en);
	free(en);
	return code;
}
