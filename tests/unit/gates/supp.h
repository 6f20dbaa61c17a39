/*
 * supp.h - what the tests of the lists share: a redis-server, a client, calls waited for
 */
#ifndef HM_TEST_GATES_SUPP_H
#define HM_TEST_GATES_SUPP_H

#include "../redis/env.h"
#include "gates/suppress.h"

#define PREFIX HM_STR("t")

static struct {
	struct env env;
	struct server *server;
	struct client client;
	bool done;
	size_t changed;
	struct hm_err err;
	/* pages */
	struct hm_arena arena;
	struct hm_suppress_entry v[20000];
	size_t n;
	char next[HM_SUPPRESS_CURSOR_MAX];
} w;

UNUSED_FN int supp_setup(void **state)
{
	struct hm_redis_opts o = {
		.connect_timeout_ms = 2000, .command_timeout_ms = 5000, .max_pending = 100000};

	env_init(&w.env);
	w.server = server_start(&w.env, NULL);
	client_open(&w.client, &w.env, o, "unix://%s", w.server->sock);
	RUN_UNTIL(&w.env, w.client.up, 10000);
	hm_arena_init(&w.arena, NULL, 0);
	return 0;
}

UNUSED_FN int supp_teardown(void **state)
{
	client_close(&w.client);
	hm_arena_fini(&w.arena);
	env_fini(&w.env);
	hm_stats_free_all();
	return 0;
}

static void on_count(void *arg, size_t changed, const struct hm_err *err)
{
	assert_false(w.done);
	w.done = true;
	w.changed = changed;
	hm_err_clear(&w.err);
	if (err)
		w.err = *err;
}

UNUSED_FN size_t wait_count(void)
{
	RUN_UNTIL(&w.env, w.done, 10000);
	w.done = false;
	if (w.err.code)
		fail_msg("%s", w.err.text);
	return w.changed;
}

UNUSED_FN size_t total(uint64_t now_ms)
{
	hm_suppress_total(w.client.r, PREFIX, now_ms, on_count, NULL);
	return wait_count();
}

static void on_page(void *arg, const struct hm_suppress_entry *v, size_t n, struct hm_str next,
		    const struct hm_err *err)
{
	if (err)
		fail_msg("%s", err->text);
	for (size_t i = 0; i < n; i++) {
		struct hm_suppress_entry *x = &w.v[w.n++];

		assert_true(w.n <= hm_countof(w.v));
		*x = v[i];
		x->subject = hm_arena_str(&w.arena, x->subject);
		x->category = hm_arena_str(&w.arena, x->category);
		x->reason = hm_arena_str(&w.arena, x->reason);
		x->by = hm_arena_str(&w.arena, x->by);
		x->proof = hm_arena_str(&w.arena, x->proof);
	}
	snprintf(w.next, sizeof(w.next), "%.*s", HM_STRF(next));
	w.done = true;
}

UNUSED_FN size_t page(const struct hm_suppress_filter *f, const char *cursor, uint32_t limit, uint64_t now_ms)
{
	char from[HM_SUPPRESS_CURSOR_MAX];
	size_t before = w.n;

	snprintf(from, sizeof(from), "%s", cursor);
	hm_suppress_page(w.client.r, PREFIX, now_ms, f, hm_str_c(from), limit, on_page, NULL);
	RUN_UNTIL(&w.env, w.done, 10000);
	w.done = false;
	return w.n - before;
}

/* All of it, from the beginning, into w.v. */
UNUSED_FN size_t walk(const struct hm_suppress_filter *f, uint32_t limit, uint64_t now_ms)
{
	w.n = 0;
	w.next[0] = '\0';
	hm_arena_reset(&w.arena);
	do
		assert_true(page(f, w.next, limit, now_ms) <= limit);
	while (w.next[0]);
	return w.n;
}

#define FILTER_ALL ((struct hm_suppress_filter){.medium = HM_SUPPRESS_ANY, .reason = -1})

UNUSED_FN struct hm_suppress_filter filter_address(const char *address)
{
	struct hm_suppress_filter f = FILTER_ALL;

	f.addresses = true;
	f.subject = hm_str_c(address);
	return f;
}

/* The one entry of an address, or NULL. */
UNUSED_FN const struct hm_suppress_entry *entry_of(const char *address, uint64_t now_ms)
{
	struct hm_suppress_filter f = filter_address(address);
	size_t n = walk(&f, 100, now_ms);

	assert_true(n <= 1);
	return n ? &w.v[0] : NULL;
}

#endif
