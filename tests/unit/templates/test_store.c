/*
 * The store's script with every answer it knows, and the process's copy: loading, events, looks, what is broken,
 * waiting from another thread. One loop, a redis-server of the test's own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "templates/check.h"
#include "templates/templates.h"

static struct {
	char dir[64], sock[100], url[128];
	pid_t pid;
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_mailbox mb;
	struct hm_redis *redis;
	struct hm_config *cfg;
	struct hm_arena arena;
	uv_timer_t beat;
	bool closed;
	struct hm_reply reply;
	struct hm_err err;
	bool done;
} w;

static const struct hm_str prefix = HM_STR_INIT("t");

static void on_beat(uv_timer_t *t)
{
}

static void server_start(void)
{
	pid_t parent = getpid();

	unlink(w.sock);
	w.pid = fork();
	assert_true(w.pid >= 0);
	if (w.pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
		dup2(null, 1);
		dup2(null, 2);
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", w.sock, "--save", "",
		       "--dir", w.dir, (char *)NULL);
		_exit(127);
	}
}

static void turn(void)
{
	uv_run(&w.loop, UV_RUN_ONCE);
}

static void wait_up(void)
{
	for (int i = 0; !hm_redis_up(w.redis); i++) {
		assert_true(i < 10000);
		turn();
	}
}

static void fail_report(void *arg, const struct hm_err *e)
{
	fail_msg("%s", e->text);
}

static int setup(void **state)
{
	struct hm_redis_opts o = {.connect_timeout_ms = 2000,
				  .command_timeout_ms = 5000,
				  .max_pending = 100000,
				  .client_name = HM_STR_INIT("test")};
	struct hm_err e = {0};

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(hm_log_set_levels(HM_STR("error"), &e), 0);
	snprintf(w.dir, sizeof(w.dir), "/tmp/hm-tstore-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	snprintf(w.sock, sizeof(w.sock), "%s/r.sock", w.dir);
	snprintf(w.url, sizeof(w.url), "unix://%s", w.sock);
	server_start();
	hm_arena_init(&w.arena, NULL, 0);
	assert_int_equal(uv_loop_init(&w.loop), 0);
	assert_int_equal(hm_tick_init(&w.tick, &w.loop), 0);
	assert_int_equal(hm_mailbox_init(&w.mb, &w.tick, &w), 0);
	uv_timer_init(&w.loop, &w.beat);
	uv_timer_start(&w.beat, on_beat, 5, 5);
	o.url = hm_str_c(w.url);
	assert_int_equal(hm_redis_new(&w.tick, &o, &w.redis, &e), 0);
	assert_int_equal(hm_config_load(NULL, NULL, &w.cfg, fail_report, NULL), 0);
	wait_up();
	return 0;
}

static void on_closed(void *arg)
{
	w.closed = true;
}

static int teardown(void **state)
{
	char cmd[128];

	hm_redis_close(w.redis, on_closed, NULL);
	while (!w.closed)
		turn();
	uv_close((uv_handle_t *)&w.beat, NULL);
	hm_mailbox_close(&w.mb);
	hm_tick_close(&w.tick);
	uv_run(&w.loop, UV_RUN_DEFAULT);
	hm_tick_fini(&w.tick);
	assert_int_equal(uv_loop_close(&w.loop), 0);
	hm_arena_fini(&w.arena);
	hm_config_unref(w.cfg);
	kill(w.pid, SIGKILL);
	waitpid(w.pid, NULL, 0);
	snprintf(cmd, sizeof(cmd), "rm -r %s", w.dir);
	assert_int_equal(system(cmd), 0);
	hm_stats_free_all();
	return 0;
}

/* -- asking -------------------------------------------------------------------------------- */

static void copy(const struct hm_reply *from, struct hm_reply *to)
{
	*to = *from;
	if (from->s.p)
		to->s = hm_arena_str(&w.arena, from->s);
	if (from->n) {
		to->v = hm_arena_alloc(&w.arena, from->n * sizeof(*to->v));
		for (size_t i = 0; i < from->n; i++)
			copy(&from->v[i], &to->v[i]);
	}
}

static void on_reply(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	w.done = true;
	if (err)
		fail_msg("redis: %s", err->text);
	copy(reply, &w.reply);
}

static void wait_done(void)
{
	while (!w.done)
		turn();
	w.done = false;
}

static const struct hm_reply *redis(const char *fmt, struct hm_str a, struct hm_str b, struct hm_str c)
{
	hm_redis_sendf(w.redis, HM_STR("{t:ctl}"), on_reply, NULL, fmt, a, b, c);
	wait_done();
	return &w.reply;
}

static struct hm_tstore_answer last;
static char last_etag[HM_TSTORE_TAG + 1];

static void on_change(void *arg, const struct hm_tstore_answer *a, const struct hm_err *err)
{
	w.done = true;
	if (err)
		fail_msg("redis: %s", err->text);
	last = *a;
	snprintf(last_etag, sizeof(last_etag), "%.*s", HM_STRF(a->etag));
	last.etag = hm_str_c(last_etag);
}

static enum hm_tstore_result change(enum hm_tstore_op op, const char *name, const char *match,
				    uint32_t version, const char *doc)
{
	struct hm_tstore_change c = {.op = op,
				     .name = hm_str_c(name),
				     .match = hm_str_c(match),
				     .version = version,
				     .doc = hm_str_c(doc),
				     .by = HM_STR_INIT("me"),
				     .at_ms = 1767225600000,
				     .about = HM_STR_INIT("say \"x\""),
				     .max_templates = 8};

	hm_tstore_change(w.redis, prefix, &c, on_change, NULL);
	wait_done();
	return last.result;
}

/* Everything asked before has been answered. */
static void settle(void)
{
	redis("PING", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
}

static void flush(void)
{
	redis("FLUSHALL", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
}

static struct hm_tstore_info *info(const char *name)
{
	static struct hm_tstore_info t;
	struct hm_err e = {0};

	redis("HGET {t:ctl}:templates %b", hm_str_c(name), HM_STR_NULL, HM_STR_NULL);
	if (w.reply.type == HM_REPLY_NIL)
		return NULL;
	if (hm_tstore_read_info(w.reply.s, &w.arena, &t, &e))
		fail_msg("%s", e.text);
	return &t;
}

/* -- the script ------------------------------------------------------------------------------ */

static void test_names(void **state)
{
	static const char *const good[] = {"a", "order/shipped", "A-1_b.c/9", "用户/欢迎", "a.b/c.tests"};
	static const char *const bad[] = {"",	  "/a",	   "a/",       "a//b",	 ".a",
					  "a/.b", "a b",   "a@1",      "a.test", "a{b",
					  "a\nb", "a\xff", "a\u2028b", "a:b",	 "a\u00a0b"};
	char long_name[HM_TSTORE_NAME_MAX + 2];
	struct hm_err e = {0};

	for (size_t i = 0; i < hm_countof(good); i++)
		assert_int_equal(hm_tstore_check_name(hm_str_c(good[i]), &e), 0);
	for (size_t i = 0; i < hm_countof(bad); i++)
		if (hm_tstore_check_name(hm_str_c(bad[i]), &e) == 0)
			fail_msg("\"%s\" is taken for a name", bad[i]);
	memset(long_name, 'n', sizeof(long_name));
	assert_int_equal(hm_tstore_check_name(hm_str_n(long_name, HM_TSTORE_NAME_MAX), &e), 0);
	assert_int_not_equal(hm_tstore_check_name(hm_str_n(long_name, HM_TSTORE_NAME_MAX + 1), &e), 0);
	/* what the store takes, the language takes */
	for (size_t i = 0; i < hm_countof(good); i++)
		assert_true(hm_template_name_ok(hm_str_c(good[i])));
}

static void test_every_answer(void **state)
{
	const struct hm_tstore_info *t;
	char etag[HM_TSTORE_TAG + 1];

	flush();
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, ""), HM_TSTORE_MISSING);
	assert_int_equal(change(HM_TSTORE_SAVE, "a", "*", 0, "one"), HM_TSTORE_STALE);
	assert_int_equal(last.etag.len, 0);
	assert_int_equal(change(HM_TSTORE_SAVE, "a", "-", 0, "one"), HM_TSTORE_OK);
	assert_int_equal(last.etag.len, HM_TSTORE_TAG);
	memcpy(etag, last_etag, sizeof(etag));
	assert_int_equal(change(HM_TSTORE_SAVE, "a", "-", 0, "one"), HM_TSTORE_EXISTS);
	assert_string_equal(last_etag, etag);
	assert_int_equal(change(HM_TSTORE_SAVE, "a", "", 0, "one"), HM_TSTORE_SAME);
	assert_int_equal(change(HM_TSTORE_SAVE, "a", "", 0, "two"), HM_TSTORE_UNMATCHED);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "two"), HM_TSTORE_UNMATCHED);
	assert_int_equal(change(HM_TSTORE_SAVE, "a", "x", 0, "two"), HM_TSTORE_STALE);
	assert_string_equal(last_etag, etag);
	assert_int_equal(change(HM_TSTORE_SAVE, "a", etag, 0, "two"), HM_TSTORE_OK);
	assert_string_not_equal(last_etag, etag);
	t = info("a");
	assert_true(t->draft && t->latest == 0 && t->current == 0 && hm_str_is(t->about, "say \"x\"") &&
		    hm_str_is(t->by, "me") && t->at_ms == 1767225600000 && hm_str_is(t->draft_by, "me"));
	assert_int_equal(change(HM_TSTORE_CURRENT, "a", "", 1, ""), HM_TSTORE_NO_VERSION);
	assert_int_equal(change(HM_TSTORE_ARCHIVE, "a", "", 0, ""), HM_TSTORE_NO_VERSION);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", last_etag, 0, ""), HM_TSTORE_OK);
	assert_true(last.version == 1 && last.current == 1);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, ""), HM_TSTORE_NO_DRAFT);
	assert_int_equal(change(HM_TSTORE_DISCARD, "a", "", 0, ""), HM_TSTORE_NO_DRAFT);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "three"), HM_TSTORE_OK);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "*", 0, "four"), HM_TSTORE_OK);
	assert_true(last.version == 3 && last.current == 3);
	assert_int_equal(change(HM_TSTORE_CURRENT, "a", "", 3, ""), HM_TSTORE_SAME);
	assert_int_equal(change(HM_TSTORE_CURRENT, "a", "", 4, ""), HM_TSTORE_NO_VERSION);
	assert_int_equal(change(HM_TSTORE_ARCHIVE, "a", "", 3, ""), HM_TSTORE_OK);
	assert_int_equal(last.current, 2);
	assert_int_equal(change(HM_TSTORE_ARCHIVE, "a", "", 3, ""), HM_TSTORE_SAME);
	assert_int_equal(change(HM_TSTORE_CURRENT, "a", "", 3, ""), HM_TSTORE_ARCHIVED);
	assert_int_equal(change(HM_TSTORE_CURRENT, "a", "", 1, ""), HM_TSTORE_OK);
	assert_int_equal(change(HM_TSTORE_ARCHIVE, "a", "", 2, ""), HM_TSTORE_OK);
	assert_int_equal(last.current, 1);
	assert_int_equal(change(HM_TSTORE_ARCHIVE, "a", "", 0, ""), HM_TSTORE_OK);
	assert_int_equal(last.current, 0);
	t = info("a");
	assert_true(hm_tstore_archived(t, 1) && hm_tstore_archived(t, 2) && hm_tstore_archived(t, 3));
	assert_int_equal(change(HM_TSTORE_RESTORE, "a", "", 2, ""), HM_TSTORE_OK);
	assert_int_equal(last.current, 2);
	assert_int_equal(change(HM_TSTORE_RESTORE, "a", "", 2, ""), HM_TSTORE_SAME);
	assert_int_equal(change(HM_TSTORE_RESTORE, "a", "", 9, ""), HM_TSTORE_NO_VERSION);
	assert_int_equal(change(HM_TSTORE_RESTORE, "a", "", 1, ""), HM_TSTORE_OK);
	assert_int_equal(last.current, 2);
	assert_int_equal(change(HM_TSTORE_DELETE, "a", "", 0, ""), HM_TSTORE_PUBLISHED);
	/* what was written stays what it was */
	redis("HGET {t:ctl}:template:a v1", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
	assert_true(hm_str_is(w.reply.s, "two"));
	redis("HGET {t:ctl}:template:a v3", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
	assert_true(hm_str_is(w.reply.s, "four"));
	/* one too many */
	for (int i = 0; i < 7; i++) {
		char name[8];

		snprintf(name, sizeof(name), "n%d", i);
		assert_int_equal(change(HM_TSTORE_SAVE, name, "", 0, "x"), HM_TSTORE_OK);
	}
	assert_int_equal(change(HM_TSTORE_SAVE, "n7", "", 0, "x"), HM_TSTORE_FULL);
	assert_int_equal(change(HM_TSTORE_DELETE, "n0", "", 0, ""), HM_TSTORE_OK);
	assert_null(info("n0"));
	assert_int_equal(change(HM_TSTORE_SAVE, "n7", "", 0, "x"), HM_TSTORE_OK);
	assert_int_equal(change(HM_TSTORE_DISCARD, "n7", "", 0, ""), HM_TSTORE_OK);
	assert_null(info("n7"));
	redis("EXISTS {t:ctl}:template:n7 {t:ctl}:template-log:n7", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
	assert_int_equal(w.reply.i, 0);
	redis("ZCARD {t:ctl}:templates:names", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
	assert_int_equal(w.reply.i, 7);
}

static void test_no_more_versions_than_there_may_be(void **state)
{
	flush();
	for (int i = 0; i < HM_TSTORE_VERSIONS; i++)
		assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "x"), HM_TSTORE_OK);
	assert_int_equal(last.version, HM_TSTORE_VERSIONS);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "x"), HM_TSTORE_MANY);
	assert_int_equal(change(HM_TSTORE_ARCHIVE, "a", "", 0, ""), HM_TSTORE_OK);
	assert_true(hm_tstore_archived(info("a"), HM_TSTORE_VERSIONS));
	redis("LLEN {t:ctl}:template-log:a", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
	assert_int_equal(w.reply.i, 1000);
}

static void test_every_sentence(void **state)
{
	struct hm_tstore_change c = {.name = HM_STR_INIT("a"), .version = 3, .max_templates = 5};

	for (int r = HM_TSTORE_STALE; r < HM_TSTORE_RESULTS; r++) {
		struct hm_tstore_answer a = {.result = (enum hm_tstore_result)r, .etag = HM_STR_INIT("x")};
		struct hm_err e = {0};

		hm_tstore_explain(&c, &a, &e);
		assert_true(e.code < 0 && strlen(e.text) > 10 && strcmp(e.text, "nothing to explain") != 0);
	}
}

/* -- the copy ----------------------------------------------------------------------------------- */

static struct hm_templates *copy_new(struct hm_book *b, uint64_t interval_ms)
{
	struct hm_templates_deps d = {.tick = &w.tick,
				      .redis = w.redis,
				      .mailbox = &w.mb,
				      .book = b,
				      .prefix = prefix,
				      .opts = {.settings = &w.cfg->settings},
				      .interval_ms = interval_ms};
	struct hm_templates *t = hm_templates_new(&d);

	assert_non_null(t);
	return t;
}

static void until_loaded(struct hm_templates *t)
{
	for (int i = 0; !hm_templates_loaded(t); i++) {
		assert_true(i < 100000);
		turn();
	}
}

static bool used(struct hm_book *b, const char *ref, const char *text)
{
	struct hm_template_set *s = hm_book_take(b);
	const struct hm_template *t = hm_template_find(s, hm_str_c(ref), NULL);
	bool is = text ? t && hm_str_eq(hm_template_source(t), hm_str_c(text)) : t == NULL;

	hm_template_set_unref(s);
	return is;
}

/* What the control stream would say. */
static void told(struct hm_templates *t, struct hm_book *b, const char *name, const char *ref,
		 const char *text)
{
	hm_templates_event(t, hm_str_c(name), HM_STR(""));
	for (int i = 0; !used(b, ref, text); i++) {
		assert_true(i < 100000);
		turn();
	}
}

static void test_follows(void **state)
{
	struct hm_book *b = hm_book_new();
	struct hm_templates_stats s;
	struct hm_templates *t;

	flush();
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: one\n"), HM_TSTORE_OK);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: two\n"), HM_TSTORE_OK);
	assert_int_equal(change(HM_TSTORE_SAVE, "d", "", 0, "body: draft\n"), HM_TSTORE_OK);
	t = copy_new(b, 0);
	until_loaded(t);
	assert_true(used(b, "a", "body: two\n") && used(b, "a@1", "body: one\n") && used(b, "d", NULL));
	hm_templates_stats(t, &s);
	assert_true(s.names == 2 && s.versions == 2 && s.compiled == 2 && s.broken == 0);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: three\n"), HM_TSTORE_OK);
	assert_true(used(b, "a", "body: two\n"));
	told(t, b, "a", "a", "body: three\n");
	hm_templates_stats(t, &s);
	assert_int_equal(s.compiled, 3); /* only what is new */
	hm_templates_event(t, HM_STR("a"), hm_str_c(last_etag));
	hm_templates_stats(t, &s);
	assert_true(s.compiled == 3); /* heard already: not even asked */
	assert_int_equal(change(HM_TSTORE_ARCHIVE, "a", "", 0, ""), HM_TSTORE_OK);
	told(t, b, "a", "a", NULL);
	assert_true(used(b, "a@3", "body: three\n"));
	assert_int_equal(change(HM_TSTORE_PUBLISH, "new", "", 0, "body: new\n"), HM_TSTORE_OK);
	told(t, b, "new", "new", "body: new\n");
	assert_int_equal(change(HM_TSTORE_DELETE, "d", "", 0, ""), HM_TSTORE_OK);
	hm_templates_event(t, HM_STR("d"), HM_STR(""));
	do {
		turn();
		hm_templates_stats(t, &s);
	} while (s.names > 2);
	hm_templates_event(t, HM_STR("never there"), HM_STR(""));
	hm_templates_event(t, HM_STR("never/there"), HM_STR(""));
	do {
		turn();
		hm_templates_stats(t, &s);
	} while (s.names > 2);
	hm_templates_stop(t);
	settle();
	hm_templates_free(t);
	hm_book_free(b);
}

static void test_looks(void **state)
{
	struct hm_book *b = hm_book_new();
	struct hm_templates *t;
	struct hm_templates_stats s;

	flush();
	t = copy_new(b, 5);
	until_loaded(t);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: one\n"), HM_TSTORE_OK);
	while (!used(b, "a", "body: one\n"))
		turn();
	hm_templates_stats(t, &s);
	assert_true(s.compiled == 1);
	/* a document replaced under the number it had: a Redis put back, then published again */
	redis("HSET {t:ctl}:template:a v1 %b m:v1 %b", HM_STR("body: other\n"),
	      HM_STR("{\"tok\":\"X\",\"at\":1}"), HM_STR_NULL);
	redis("HSET {t:ctl}:templates a %b",
	      HM_STR("{\"id\":\"I\",\"etag\":\"E\",\"latest\":1,\"current\":1}"), HM_STR_NULL, HM_STR_NULL);
	redis("SET {t:ctl}:templates:token X", HM_STR_NULL, HM_STR_NULL, HM_STR_NULL);
	while (!used(b, "a", "body: other\n"))
		turn();
	/* all gone */
	flush();
	while (!used(b, "a", NULL))
		turn();
	/* other settings: compiled again from what is kept */
	assert_int_equal(change(HM_TSTORE_PUBLISH, "b", "", 0, "body: b\n"), HM_TSTORE_OK);
	while (!used(b, "b", "body: b\n"))
		turn();
	hm_templates_stats(t, &s);
	hm_templates_configure(t, &(struct hm_template_opts){.settings = &w.cfg->settings}, 5);
	{
		struct hm_templates_stats after;

		hm_templates_stats(t, &after);
		assert_int_equal(after.compiled, s.compiled + 1);
	}
	assert_true(used(b, "b@1", "body: b\n"));
	hm_templates_stop(t);
	settle();
	hm_templates_free(t);
	hm_book_free(b);
}

static void test_leaves_out_what_it_cannot_use(void **state)
{
	struct hm_book *b = hm_book_new();
	struct hm_templates *t;
	struct hm_templates_stats s;
	struct hm_err e = {0};

	assert_int_equal(hm_log_set_levels(HM_STR("error,template=error"), &e), 0);
	flush();
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: one\n"), HM_TSTORE_OK);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: [\n"), HM_TSTORE_OK);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "b", "", 0, "nonsense: [\n"), HM_TSTORE_OK);
	t = copy_new(b, 0);
	until_loaded(t);
	assert_true(used(b, "a", "body: one\n") && used(b, "a@2", NULL) && used(b, "b", NULL));
	hm_templates_stats(t, &s);
	assert_true(s.versions == 1 && s.broken == 2);
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: three\n"), HM_TSTORE_OK);
	told(t, b, "a", "a", "body: three\n");
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: ${\n"), HM_TSTORE_OK);
	hm_templates_event(t, HM_STR("a"), HM_STR(""));
	do {
		turn();
		hm_templates_stats(t, &s);
	} while (s.broken < 3);
	assert_true(used(b, "a", "body: three\n")); /* what was used before stays */
	hm_templates_stop(t);
	settle();
	hm_templates_free(t);
	hm_book_free(b);
}

/* -- another thread waits ------------------------------------------------------------------------------ */

struct other {
	struct hm_templates *t;
	pthread_t thread;
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_mailbox mb;
	struct hm_templates_wait wait[3];
	size_t done;
	bool ended; /* atomic */
};

static void on_waited(struct hm_templates_wait *x)
{
	struct other *o = x->back->owner;

	if (++o->done == hm_countof(o->wait)) {
		hm_mailbox_close(&o->mb);
		hm_tick_close(&o->tick);
	}
}

static void *other_thread(void *arg)
{
	static const char *const names[] = {"a", "unknown", "a"};
	struct other *o = arg;

	hm_assert(uv_loop_init(&o->loop) == 0 && hm_tick_init(&o->tick, &o->loop) == 0 &&
		  hm_mailbox_init(&o->mb, &o->tick, o) == 0);
	for (size_t i = 0; i < hm_countof(o->wait); i++) {
		o->wait[i] = (struct hm_templates_wait){.on_done = on_waited, .back = &o->mb};
		hm_templates_wait(o->t, &o->wait[i], hm_str_c(names[i]));
	}
	uv_run(&o->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&o->tick);
	hm_assert(uv_loop_close(&o->loop) == 0);
	__atomic_store_n(&o->ended, true, __ATOMIC_RELEASE);
	return NULL;
}

static void test_another_thread_waits(void **state)
{
	struct hm_book *b = hm_book_new();
	struct other o = {.done = 0};

	flush();
	o.t = copy_new(b, 0);
	until_loaded(o.t);
	for (int i = 1; i <= 20; i++) {
		char doc[32];

		snprintf(doc, sizeof(doc), "body: n%d\n", i);
		assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, doc), HM_TSTORE_OK);
		o.done = 0;
		o.ended = false;
		assert_int_equal(pthread_create(&o.thread, NULL, other_thread, &o), 0);
		while (!__atomic_load_n(&o.ended, __ATOMIC_ACQUIRE))
			turn();
		pthread_join(o.thread, NULL);
		assert_true(used(b, "a", doc)); /* told only when the book has it */
	}
	hm_templates_stop(o.t);
	settle();
	hm_templates_free(o.t);
	hm_book_free(b);
}

/* -- Redis away ------------------------------------------------------------------------------------------ */

static void test_redis_away(void **state)
{
	struct hm_book *b = hm_book_new();
	struct hm_templates *t, *late;
	struct hm_book *late_b = hm_book_new();
	struct hm_err e = {0};

	flush();
	assert_int_equal(change(HM_TSTORE_PUBLISH, "a", "", 0, "body: one\n"), HM_TSTORE_OK);
	t = copy_new(b, 10);
	until_loaded(t);
	assert_int_equal(hm_log_set_levels(HM_STR("error,redis=error"), &e), 0);
	kill(w.pid, SIGKILL);
	waitpid(w.pid, NULL, 0);
	while (hm_redis_up(w.redis))
		turn();
	late = copy_new(late_b, 10); /* begins without Redis */
	for (int i = 0; i < 100; i++)
		turn();
	assert_true(used(b, "a", "body: one\n") && !hm_templates_loaded(late));
	server_start();
	wait_up();
	until_loaded(late);
	while (!used(b, "a", NULL)) /* the new one is empty */
		turn();
	hm_templates_stop(t);
	hm_templates_stop(late);
	settle();
	hm_templates_free(t);
	hm_templates_free(late);
	hm_book_free(b);
	hm_book_free(late_b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_every_answer),
		cmocka_unit_test(test_no_more_versions_than_there_may_be),
		cmocka_unit_test(test_every_sentence),
		cmocka_unit_test(test_follows),
		cmocka_unit_test(test_looks),
		cmocka_unit_test(test_leaves_out_what_it_cannot_use),
		cmocka_unit_test(test_another_thread_waits),
		cmocka_unit_test(test_redis_away),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
