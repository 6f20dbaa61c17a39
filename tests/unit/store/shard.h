/*
 * shard.h - what the ledger's tests share: a loop with a writer, messages to write, a temporary directory
 */
#ifndef TESTS_STORE_SHARD_H
#define TESTS_STORE_SHARD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/ledger_int.h"

#define unused __attribute__((unused))

struct shard {
	uv_loop_t loop;
	struct hm_tick tick;
	struct hm_mailbox mb;
	struct hm_ledger_writer *w;
	uint64_t durable, reports;
};

static unused void on_durable(void *arg, uint64_t ticket)
{
	struct shard *s = arg;

	assert_true(ticket > s->durable); /* in order, each once */
	s->durable = ticket;
	s->reports++;
}

static unused void shard_init(struct shard *s, struct hm_ledger *l)
{
	memset(s, 0, sizeof(*s));
	assert_int_equal(uv_loop_init(&s->loop), 0);
	assert_int_equal(hm_tick_init(&s->tick, &s->loop), 0);
	assert_int_equal(hm_mailbox_init(&s->mb, &s->tick, s), 0);
	s->w = hm_ledger_writer_new(l, &s->tick, &s->mb, on_durable, s);
	assert_non_null(s->w);
}

/* Runs the loop until the ticket is durable. */
static unused void shard_wait(struct shard *s, uint64_t ticket)
{
	assert_true(ticket > 0);
	while (s->durable < ticket)
		uv_run(&s->loop, UV_RUN_ONCE);
}

static unused void shard_fini(struct shard *s)
{
	while (hm_ledger_backlog(s->w))
		uv_run(&s->loop, UV_RUN_ONCE);
	hm_ledger_writer_close(s->w);
	hm_mailbox_close(&s->mb);
	hm_tick_close(&s->tick);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	hm_tick_fini(&s->tick);
	assert_int_equal(uv_loop_close(&s->loop), 0);
}

static unused int rm_one(const char *path, const struct stat *st, int flag, struct FTW *f)
{
	return remove(path);
}

static unused void rm_rf(const char *dir)
{
	nftw(dir, rm_one, 16, FTW_DEPTH | FTW_PHYS);
}

static unused const char *temp_dir(void)
{
	static char dir[64];

	snprintf(dir, sizeof(dir), "/tmp/hm_ledger_XXXXXX");
	assert_non_null(mkdtemp(dir));
	return dir;
}

static unused struct hm_ledger *open_ledger(const char *dir, uint32_t segment_bytes, uint32_t ttl_s)
{
	const struct hm_ledger_opts o = {
		.dir = hm_str_c(dir), .segment_bytes = segment_bytes, .ttl_s = ttl_s};
	struct hm_ledger *l;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_ledger_open(&o, &l, &e) < 0)
		fail_msg("open: %s", e.text);
	return l;
}

static unused void assert_verified(struct hm_ledger *l)
{
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_ledger_verify(l, &e) < 0)
		fail_msg("verify: %s", e.text);
}

static unused struct hm_ulid id_at_ms(uint64_t ms)
{
	struct hm_ulid id;

	hm_ulid_new(&id, ms);
	return id;
}

static unused uint64_t put_job(struct shard *s, const struct hm_ulid *id, uint32_t n, const char *campaign)
{
	const struct hm_ledger_job j = {.id = *id,
					.n = n,
					.lane = HM_LANE_NORMAL,
					.accepted_ms = hm_ulid_ms(id),
					.campaign = hm_str_c(campaign),
					.channel = HM_STR("apns-main"),
					.template_ref = HM_STR("price@3")};

	return hm_ledger_put_job(s->w, &j);
}

static unused struct hm_ledger_msg a_msg(const struct hm_ulid *job, uint32_t nth, enum hm_state state,
					 const char *campaign)
{
	struct hm_ledger_msg m = {.id = *job,
				  .job = *job,
				  .state = (uint8_t)state,
				  .lane = HM_LANE_NORMAL,
				  .accepted_ms = hm_ulid_ms(job),
				  .updated_ms = hm_ulid_ms(job) + 20,
				  .campaign = hm_str_c(campaign),
				  .channel = HM_STR("apns-main"),
				  .template_ref = HM_STR("price@3")};

	hm_ulid_add(&m.id, nth);
	return m;
}

static unused uint64_t put_state(struct shard *s, const struct hm_ulid *job, uint32_t nth,
				 enum hm_state state, const char *campaign, bool maybe_repeat)
{
	struct hm_ledger_msg m = a_msg(job, nth, state, campaign);
	char user[32], address[32];

	snprintf(user, sizeof(user), "user-%u", nth);
	snprintf(address, sizeof(address), "token-%u", nth);
	m.user = hm_str_c(user);
	m.address = hm_str_c(address);
	m.maybe_repeat = maybe_repeat;
	return hm_ledger_put_msg(s->w, &m);
}

static unused struct hm_ledger_balance total(struct hm_ledger *l)
{
	struct hm_ledger_balance b;
	struct hm_err e;

	assert_int_equal(hm_ledger_total(l, &b, &e), 0);
	return b;
}

struct seen {
	struct hm_ulid id[64];
	uint8_t state[64];
	size_t n, stop_at;
};
static unused bool on_seen(void *arg, const struct hm_ledger_msg *m)
{
	struct seen *s = arg;

	if (s->n < hm_countof(s->id)) {
		s->id[s->n] = m->id;
		s->state[s->n] = m->state;
	}
	s->n++;
	return s->stop_at == 0 || s->n < s->stop_at;
}

static unused enum hm_state state_of(struct hm_ledger *l, const struct hm_ulid *job, uint32_t nth)
{
	struct hm_ledger_msg m;
	struct hm_ulid id = *job;
	struct hm_arena a;
	struct hm_err e;
	int rc;

	hm_ulid_add(&id, nth);
	hm_arena_init(&a, NULL, 0);
	rc = hm_ledger_get_msg(l, &id, &a, &m, &e);
	hm_arena_fini(&a);
	if (rc == HM_ENOENT)
		return HM_ST_COUNT;
	if (rc < 0)
		fail_msg("get: %s", e.text);
	assert_true(hm_ulid_eq(&m.id, &id) && hm_ulid_eq(&m.job, job));
	return m.state;
}

#endif
