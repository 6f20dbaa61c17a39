/*
 * pull.c - providers that tell only when asked
 *
 *   rest ─▶ claim (script: due ids of a channel and partition, leased) ─▶ ask ─▶ take ─▶ settle (script) ─▶ next ─▶ ... ─▶ rest
 *
 * `{<prefix>:<p>}:pull:<channel>` has every id that is waited for, by the time it is due ("<sent ms> <provider id>"). Any process
 * may ask; a claim moves what it takes a minute on, so that nobody else asks meanwhile and a crash loses nothing. An id is asked
 * about when it is `after` old, and then whenever it is twice as old as the last time, until it is `until` old; it leaves when an
 * event says what became of it. One question at a time per process, and while there are more ids due than one question may
 * have, up to QUESTIONS_MAX in a row.
 */
#include <stdio.h>
#include <stdlib.h>

#include "receipts/callbacks_int.h"

#define PULLER_MAGIC  0x70756c6cu
#define REST_MS	      2000
#define LEASE_MS      60000u
#define CLAIM_MAX     1000
#define QUESTIONS_MAX 32 /* of one channel and partition, before the others have their turn */

static struct hm_redis_script claim_script = {
	.name = "pull_claim",
	/* KEYS: pull; ARGV: now, most, end of the lease. */
	.source = "local v = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])\n"
		  "for _, m in ipairs(v) do redis.call('ZADD', KEYS[1], 'XX', ARGV[3], m) end\n"
		  "return v\n",
};
static struct hm_redis_script settle_script = {
	.name = "pull_settle",
	/* KEYS: pull; ARGV: member, score ("" = gone), ... */
	.source = "for i = 1, #ARGV, 2 do\n"
		  "  if ARGV[i + 1] == '' then redis.call('ZREM', KEYS[1], ARGV[i])\n"
		  "  else redis.call('ZADD', KEYS[1], 'XX', ARGV[i + 1], ARGV[i]) end\n"
		  "end\n"
		  "return 0\n",
};

struct member {
	struct hm_str text, id;
	uint64_t sent_ms;
	bool gone, left; /* left: of another group than those that were asked about */
};

struct puller {
	uint32_t magic;
	struct hm_callbacks *cb;
	struct hm_timer rest;
	struct hm_channel_set *set; /* of this round */
	size_t at;		    /* channel */
	uint32_t partition;
	struct hm_channel *c;
	struct hm_cb_info info;
	struct hm_arena arena; /* of one question */
	bool asking;	       /* the arena is in use */
	struct member *v;
	size_t n;
	struct hm_str *ids; /* of those asked about */
	size_t n_ids;
	uint32_t questions; /* in a row */
	struct hm_call call;
	struct hm_cred_waiter cred;
	bool cred_waiting, on_wire, stopped;
};

static void claim(struct puller *p);

static void rest(struct puller *p)
{
	hm_channel_set_unref(p->set);
	p->set = NULL;
	if (!p->stopped)
		hm_timer_start(p->cb->deps.tick, &p->rest, REST_MS);
}

static void end_question(struct puller *p)
{
	if (p->asking)
		hm_arena_fini(&p->arena);
	p->asking = false;
}

/* The next channel that is asked, from p->at on; false: the round is over. */
static bool find_channel(struct puller *p)
{
	for (; p->at < p->set->n; p->at++) {
		p->c = p->set->v[p->at];
		hm_channel_receipts(p->c, &p->info);
		if (p->info.pull)
			return true;
	}
	return false;
}

static void next(struct puller *p, bool same_channel)
{
	end_question(p);
	if (p->stopped) {
		rest(p);
		return;
	}
	p->questions = 0;
	if (!same_channel || ++p->partition >= p->cb->deps.partitions) {
		p->partition = 0;
		p->at++;
	}
	if (find_channel(p))
		claim(p);
	else
		rest(p);
}

static struct hm_str key_of(const struct puller *p, char *key, size_t cap)
{
	struct hm_pid pid = hm_callbacks_pid(p->cb, p->c);

	return hm_str_n(key, hm_pid_pull_key(&pid, p->partition, key, cap));
}

static uint32_t most_at_once(const struct puller *p)
{
	return hm_min(p->info.pull_max, (uint32_t)CLAIM_MAX);
}

static void on_settled(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct puller *p = arg;

	HM_CHECK(p, PULLER_MAGIC);
	(void)reply;
	(void)err; /* then the leases end, and all are asked about again */
	if (p->stopped || (p->n_ids == p->n && p->n < most_at_once(p)) || ++p->questions >= QUESTIONS_MAX) {
		next(p, true);
	} else {
		end_question(p);
		claim(p);
	}
}

static void settle(struct puller *p)
{
	struct hm_str *args = hm_arena_alloc(&p->arena, 2 * p->n * sizeof(*args)), key;
	uint64_t now = p->cb->deps.tick->wall_ms;
	char k[HM_PID_KEY_MAX];

	if (args == NULL) {
		next(p, true);
		return;
	}
	for (size_t i = 0; i < p->n; i++) {
		const struct member *m = &p->v[i];
		uint64_t age = now > m->sent_ms ? now - m->sent_ms : 1;

		args[2 * i] = m->text;
		args[2 * i + 1] = HM_STR("");
		if (m->left)
			args[2 * i + 1] = hm_arena_printf(&p->arena, "%llu", (unsigned long long)now);
		else if (!m->gone && age < p->info.pull_until_ms)
			args[2 * i + 1] = hm_arena_printf(
				&p->arena, "%llu",
				(unsigned long long)hm_min(now + hm_max(age, (uint64_t)1000),
							   m->sent_ms + p->info.pull_until_ms));
	}
	key = key_of(p, k, sizeof(k));
	hm_redis_eval(p->cb->deps.redis, &settle_script, &key, 1, args, 2 * p->n, on_settled, p);
}

static void on_taken(void *arg, const struct hm_callbacks_sum *s)
{
	struct puller *p = arg;

	HM_CHECK(p, PULLER_MAGIC);
	if (s->failed)
		next(p, false);
	else
		settle(p);
}

static void on_answer(struct hm_call *call)
{
	struct puller *p = hm_container_of(call, struct puller, call);
	struct hm_callbacks *cb = p->cb;
	struct hm_verdict v;
	struct hm_cb_result r;

	HM_CHECK(p, PULLER_MAGIC);
	p->on_wire = false;
	cb->calls--;
	if (p->stopped) {
		next(p, false);
		hm_callbacks_maybe_closed(cb);
		return;
	}
	hm_channel_pull_events(p->c, p->ids, p->n_ids, call, cb->deps.tick->wall_ms, &p->arena, &v, &r);
	if (v.outcome != HM_OUT_OK || r.verdict != HM_CB_TAKEN) {
		HM_WARN(INGEST, "a provider does not say what became of messages",
			HM_SV("channel", hm_channel_info(p->c)->name),
			HM_S("outcome", hm_outcome_name(v.outcome)), HM_SV("reason", v.reason));
		next(p, false);
		return;
	}
	hm_stats_add(cb->deps.tick->stats, HM_CT_CB_IGNORED, r.ignored);
	for (size_t e = 0; e < r.n; e++)
		for (size_t i = 0; i < p->n; i++)
			if (hm_str_eq(r.events[e].provider_id, p->v[i].id) && r.events[e].final)
				p->v[i].gone = true;
	if (!hm_callbacks_take(cb, p->c, r.events, r.n, on_taken, p))
		next(p, false);
}

static void ask(struct puller *p)
{
	struct hm_callbacks *cb = p->cb;
	struct hm_str credential = HM_STR("");
	struct hm_origin_opts whom;
	struct hm_origin *origin;
	struct hm_err e = {0};

	if (hm_channel_info(p->c)->needs_credential && !hm_cred_get(cb->deps.creds, p->c, &credential)) {
		p->cred_waiting = true;
		hm_cred_wait(cb->deps.creds, p->c, &p->cred);
		return;
	}
	memset(&p->call, 0, sizeof(p->call));
	if (hm_channel_pull_build(p->c, p->ids, p->n_ids, credential, cb->deps.tick->wall_ms, &p->arena,
				  &p->call, &whom, &e) != 0 ||
	    hm_wire_origin(cb->deps.wire, &whom, &origin, &e) != 0)
		goto failed;
	HM_MAGIC_SET(&p->call, HM_CALL_MAGIC);
	p->call.origin = origin;
	p->call.timeout_ms = hm_channel_info(p->c)->timeout_ms;
	p->call.arena = &p->arena;
	p->call.on_done = on_answer;
	if (hm_wire_submit(&p->call, &e) != 0)
		goto failed;
	p->on_wire = true;
	cb->calls++;
	return;
failed:
	HM_WARN(INGEST, "a provider cannot be asked what became of messages",
		HM_SV("channel", hm_channel_info(p->c)->name), HM_E(&e));
	next(p, false);
}

static void on_credential(struct hm_cred_waiter *w, const struct hm_err *err)
{
	struct puller *p = hm_container_of(w, struct puller, cred);

	HM_CHECK(p, PULLER_MAGIC);
	p->cred_waiting = false;
	if (err != NULL || p->stopped)
		next(p, false); /* the lease ends */
	else
		ask(p);
}

static bool read_member(struct puller *p, struct hm_str text)
{
	struct member *m = &p->v[p->n];
	struct hm_str rest, sent;

	m->text = rest = hm_arena_str(&p->arena, text);
	if (!hm_str_split(&rest, ' ', &sent) || !hm_str_u64(sent, &m->sent_ms) || rest.len == 0)
		return false;
	m->id = rest;
	m->gone = m->left = false;
	p->n++;
	return true;
}

/* Of those that were claimed, the ones that may be asked about together with the first. */
static void choose(struct puller *p)
{
	uint64_t now = p->cb->deps.tick->wall_ms;
	struct hm_str first = HM_STR("");

	p->n_ids = 0;
	for (size_t i = 0; i < p->n; i++) {
		struct hm_str group = hm_channel_pull_group(p->c, p->v[i].id, now, &p->arena);

		if (i == 0)
			first = group;
		p->v[i].left = !hm_str_eq(group, first);
		if (!p->v[i].left)
			p->ids[p->n_ids++] = p->v[i].id;
	}
}

static void on_claimed(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct puller *p = arg;

	HM_CHECK(p, PULLER_MAGIC);
	if (reply == NULL && err->code == HM_EREDIS)
		HM_ERROR(INGEST, "what a provider is to be asked about cannot be read", HM_E(err));
	if (reply == NULL || reply->type != HM_REPLY_ARRAY || reply->n == 0 || p->stopped) {
		next(p, reply != NULL);
		return;
	}
	hm_arena_init(&p->arena, &p->cb->deps.tick->blocks, 16u << 20);
	p->asking = true;
	p->n = 0;
	p->v = hm_arena_zalloc(&p->arena, reply->n * sizeof(*p->v));
	p->ids = hm_arena_zalloc(&p->arena, reply->n * sizeof(*p->ids));
	for (size_t i = 0; p->v != NULL && p->ids != NULL && i < reply->n; i++)
		(void)!read_member(p, reply->v[i].s);
	if (p->n == 0) {
		next(p, true);
		return;
	}
	choose(p);
	ask(p);
}

static void claim(struct puller *p)
{
	char k[HM_PID_KEY_MAX], now[24], most[12], lease[24];
	struct hm_str key = key_of(p, k, sizeof(k)), args[3];
	uint64_t t = p->cb->deps.tick->wall_ms;

	snprintf(now, sizeof(now), "%llu", (unsigned long long)t);
	snprintf(most, sizeof(most), "%u", most_at_once(p));
	snprintf(lease, sizeof(lease), "%llu", (unsigned long long)(t + LEASE_MS));
	args[0] = hm_str_c(now);
	args[1] = hm_str_c(most);
	args[2] = hm_str_c(lease);
	hm_redis_eval(p->cb->deps.redis, &claim_script, &key, 1, args, 3, on_claimed, p);
}

static void on_rest(struct hm_timer *t)
{
	struct puller *p = hm_container_of(t, struct puller, rest);
	struct hm_callbacks_now now;

	HM_CHECK(p, PULLER_MAGIC);
	if (p->stopped)
		return;
	p->cb->deps.now(p->cb->deps.arg, &now);
	p->set = hm_channel_set_ref(now.channels);
	p->at = 0;
	p->partition = 0;
	if (hm_redis_up(p->cb->deps.redis) && find_channel(p))
		claim(p);
	else
		rest(p);
}

struct puller *hm_puller_new(struct hm_callbacks *cb)
{
	struct puller *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	HM_MAGIC_SET(p, PULLER_MAGIC);
	p->cb = cb;
	p->cred.on_ready = on_credential;
	hm_timer_init(&p->rest, on_rest);
	hm_timer_start(cb->deps.tick, &p->rest, REST_MS);
	return p;
}

void hm_puller_stop(struct puller *p)
{
	HM_CHECK(p, PULLER_MAGIC);
	p->stopped = true;
	hm_timer_stop(p->cb->deps.tick, &p->rest);
	if (p->cred_waiting) {
		hm_cred_unwait(p->cb->deps.creds, p->c, &p->cred);
		p->cred_waiting = false;
		end_question(p);
		rest(p);
	}
	if (p->on_wire)
		hm_wire_cancel(&p->call);
}

void hm_puller_free(struct puller *p)
{
	if (p == NULL)
		return;
	HM_CHECK(p, PULLER_MAGIC);
	end_question(p);
	hm_channel_set_unref(p->set);
	HM_MAGIC_CLEAR(p);
	free(p);
}
