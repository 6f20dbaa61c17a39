/*
 * dead_letter.c - one run over the dead letters: pages, filters, replays
 *
 *   ids given:  WHERE (which partition has it) ─▶ FETCH ─▶ act
 *   otherwise:  per partition: page (script, filtered) ─▶ act on its letters, some at a time ─▶ next page
 */
#include "ingest/dead_letter.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fault.h"
#include "base/json.h"
#include "ingest/job_encode.h"

#define RUN_MAGIC 0x64727578u
#define LOOK	  "400" /* entries a page looks at */
#define PAGE	  50	/* letters of one page at most: what one replay script takes */
#define GONE_KEEP "604800000"

static struct hm_redis_script page_script = {
	.name = "dead_page",
	/* KEYS: dead; ARGV: asc|desc, from, to ('$': the newest there is now), look, max, full,
	 * reason, outcome, campaign, channel, category, tenant, lane. Returns {last looked at, end, to, letters}. */
	.source = "local names = {'reason', 'outcome', 'campaign', 'channel', 'category', 'tenant', 'lane'}\n"
		  "local to, look, max = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])\n"
		  "if to == '$' then\n"
		  "  local l = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)\n"
		  "  if #l == 0 then return {'', 1, '0', {}} end\n"
		  "  to = l[1][1]\n"
		  "end\n"
		  "local es\n"
		  "if ARGV[1] == 'asc' then es = redis.call('XRANGE', KEYS[1], ARGV[2], to, 'COUNT', look)\n"
		  "else es = redis.call('XREVRANGE', KEYS[1], ARGV[2], to, 'COUNT', look) end\n"
		  "local out, last, n = {}, '', 0\n"
		  "for _, e in ipairs(es) do\n"
		  "  local f, keep, ok = {}, {e[1]}, true\n"
		  "  for i = 1, #e[2], 2 do\n"
		  "    f[e[2][i]] = e[2][i + 1]\n"
		  "    if ARGV[6] == '1' or e[2][i] ~= 'j' then\n"
		  "      keep[#keep + 1] = e[2][i]\n"
		  "      keep[#keep + 1] = e[2][i + 1]\n"
		  "    end\n"
		  "  end\n"
		  "  for i, name in ipairs(names) do\n"
		  "    local want, have = ARGV[6 + i], f[name] or ''\n"
		  "    if want ~= '' then\n"
		  "      if i == 1 then ok = ok and string.find(have, want, 1, true) ~= nil\n"
		  "      else ok = ok and have == want end\n"
		  "    end\n"
		  "  end\n"
		  "  last = e[1]\n"
		  "  n = n + 1\n"
		  "  if ok then out[#out + 1] = keep end\n"
		  "  if #out == max then break end\n"
		  "end\n"
		  "return {last, (#es < look and n == #es) and 1 or 0, to, out}\n",
};

static struct hm_redis_script act_script = {
	.name = "dead_act",
	/* KEYS: dead, ids, gone, one stream per lane; ARGV: now, keep marks so long, then per letter: entry, message id,
	 * lane index of its queue entry, that entry, lane index to add to or -1 (drop), payload. 1 for each taken. */
	.source = "local out = {}\n"
		  "for i = 3, #ARGV, 6 do\n"
		  "  local id, to = ARGV[i + 1], tonumber(ARGV[i + 4])\n"
		  "  local taken = redis.call('XDEL', KEYS[1], ARGV[i])\n"
		  "  if taken == 1 then\n"
		  "    if id ~= '' then\n"
		  "      redis.call('HDEL', KEYS[2], id)\n"
		  "      local own = KEYS[4 + tonumber(ARGV[i + 2])]\n"
		  "      if ARGV[i + 3] ~= '' and #redis.call('XRANGE', own, ARGV[i + 3], ARGV[i + 3]) > 0 "
		  "then\n"
		  "        redis.call('ZADD', KEYS[3], ARGV[1], id)\n"
		  "      end\n"
		  "    end\n"
		  "    if to >= 0 then redis.call('XADD', KEYS[4 + to], '*', 'j', ARGV[i + 5]) end\n"
		  "  end\n"
		  "  out[#out + 1] = taken\n"
		  "end\n"
		  "redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', tonumber(ARGV[1]) - tonumber(ARGV[2]))\n"
		  "return out\n",
};

struct act { /* a letter of the page under way */
	struct hm_dead_letter l;
	struct hm_ulid new_id;
	struct hm_str payload;
	int to; /* lane index */
	bool has_id;
};

struct hm_dead_run {
	uint32_t magic;
	struct hm_dead_opts o;
	struct hm_dead_totals t;
	struct hm_timer pause;
	struct hm_arena arena; /* of the page */
	msgpack_zone zone;
	uint32_t partition;
	char last[48], to[48]; /* entry looked at last, "" = none yet; end of this partition */
	bool ended;	       /* this partition has no more */
	size_t next_id;
	uint32_t waiting; /* answers to WHERE */
	struct act acts[PAGE];
	size_t n_acts;
	struct hm_err err;
};

static void next_page(struct hm_dead_run *x);

static void finish(struct hm_dead_run *x)
{
	hm_timer_stop(x->o.tick, &x->pause);
	if (x->o.done)
		x->o.done(x->o.arg, &x->t, x->err.code ? &x->err : NULL);
	msgpack_zone_destroy(&x->zone);
	hm_arena_fini(&x->arena);
	HM_MAGIC_CLEAR(x);
	free(x);
}

static void tell(struct hm_dead_run *x, const struct hm_dead_letter *l, enum hm_dead_result r,
		 const struct hm_ulid *new_id, const struct hm_err *why)
{
	uint64_t *const counts[] = {[HM_DEAD_FOUND] = &x->t.found,
				    [HM_DEAD_REPLAYED] = &x->t.replayed,
				    [HM_DEAD_DROPPED] = &x->t.dropped,
				    [HM_DEAD_REFUSED] = &x->t.refused,
				    [HM_DEAD_GONE] = &x->t.gone};

	++*counts[r];
	if (x->o.letter)
		x->o.letter(x->o.arg, l, r, new_id, why);
}

static bool full(const struct hm_dead_run *x)
{
	uint64_t n = x->t.found + x->t.replayed + x->t.dropped + x->t.refused + x->t.gone;

	return x->o.limit && n >= x->o.limit;
}

/* -- letters -------------------------------------------------------------------------------------- */

bool hm_dead_place_parse(struct hm_str s, uint32_t *partition_r, struct hm_str *entry_r)
{
	struct hm_str rest = s, part;
	uint64_t p, n;

	if (s.len >= HM_DEAD_PLACE_MAX || !hm_str_split(&rest, ':', &part) || !hm_str_u64(part, &p) ||
	    p >= 1024)
		return false;
	*partition_r = (uint32_t)p;
	*entry_r = rest;
	return hm_str_split(&rest, '-', &part) && hm_str_u64(part, &n) && hm_str_u64(rest, &n);
}

struct hm_str hm_dead_name(const struct hm_dead_letter *l, char out[HM_DEAD_PLACE_MAX])
{
	if (l->id.len)
		return l->id;
	snprintf(out, HM_DEAD_PLACE_MAX, "%u:%.*s", l->partition, (int)hm_min(l->entry.len, (size_t)44),
		 l->entry.p);
	return hm_str_c(out);
}

static const struct {
	const char *name;
	size_t off;
	bool number;
} fields[] = {
	{"reason", offsetof(struct hm_dead_letter, reason), false},
	{"field", offsetof(struct hm_dead_letter, field), false},
	{"lane", offsetof(struct hm_dead_letter, lane), false},
	{"entry", offsetof(struct hm_dead_letter, lane_entry), false},
	{"j", offsetof(struct hm_dead_letter, payload), false},
	{"id", offsetof(struct hm_dead_letter, id), false},
	{"job", offsetof(struct hm_dead_letter, job), false},
	{"channel", offsetof(struct hm_dead_letter, channel), false},
	{"route", offsetof(struct hm_dead_letter, route), false},
	{"campaign", offsetof(struct hm_dead_letter, campaign), false},
	{"category", offsetof(struct hm_dead_letter, category), false},
	{"tenant", offsetof(struct hm_dead_letter, tenant), false},
	{"outcome", offsetof(struct hm_dead_letter, outcome), false},
	{"node", offsetof(struct hm_dead_letter, node), false},
	{"status", offsetof(struct hm_dead_letter, status), true},
	{"attempts", offsetof(struct hm_dead_letter, attempts), true},
	{"accepted", offsetof(struct hm_dead_letter, accepted_ms), true},
};

static void number(struct hm_str s, uint64_t *v_r)
{
	if (!hm_str_u64(s, v_r))
		*v_r = 0;
}

/* v: name, value, name, value ... */
static void read_fields(struct hm_dead_letter *l, const struct hm_reply *v, size_t n)
{
	for (size_t i = 0; i + 1 < n; i += 2)
		for (size_t f = 0; f < hm_countof(fields); f++) {
			char *at = (char *)l + fields[f].off;

			if (!hm_str_is(v[i].s, fields[f].name))
				continue;
			if (fields[f].number)
				number(v[i + 1].s, (uint64_t *)(void *)at);
			else
				*(struct hm_str *)(void *)at = v[i + 1].s;
		}
}

static void read_letter(struct hm_dead_letter *l, uint32_t partition, struct hm_str entry,
			const struct hm_reply *v, size_t n)
{
	struct hm_str rest = entry, ms;

	memset(l, 0, sizeof(*l));
	l->partition = partition;
	l->entry = entry;
	if (!hm_str_split(&rest, '-', &ms) || !hm_str_u64(ms, &l->at_ms))
		l->at_ms = 0;
	read_fields(l, v, n);
}

bool hm_dead_field(const struct hm_dead_letter *l, struct hm_str by, struct hm_str *v_r)
{
	static const char *const names[] = {"reason",	"lane",	  "channel", "route", "campaign",
					    "category", "tenant", "outcome", "node"};

	for (size_t i = 0; i < hm_countof(names); i++)
		for (size_t f = 0; hm_str_is(by, names[i]) && f < hm_countof(fields); f++)
			if (strcmp(fields[f].name, names[i]) == 0) {
				*v_r = *(const struct hm_str *)(const void *)((const char *)l +
									      fields[f].off);
				return true;
			}
	return false;
}

static void put_text(struct hm_buf *b, const char *key, struct hm_str v)
{
	if (v.len == 0)
		return;
	hm_buf_printf(b, ",\"%s\":\"", key);
	hm_buf_json(b, v);
	hm_buf_putc(b, '"');
}

/* What the entry says, without what Hermod wrote itself. */
static bool put_message(struct hm_buf *b, struct hm_str payload)
{
	static const char *const own[] = {"v", "id", "acc", "n0", "att", "of", "res"};
	msgpack_zone zone;
	msgpack_object o;
	struct hm_err e;
	bool ok = false, first = true;

	if (!msgpack_zone_init(&zone, 8192))
		return false;
	if (hm_msgpack_decode(&zone, payload, &o, &e) == 0 && o.type == MSGPACK_OBJECT_MAP) {
		hm_buf_lit(b, ",\"message\":{");
		for (uint32_t i = 0; i < o.via.map.size; i++) {
			const msgpack_object_kv *kv = &o.via.map.ptr[i];
			struct hm_str k;
			bool hide = !hm_mp_str(&kv->key, &k);

			for (size_t n = 0; n < hm_countof(own) && !hide; n++)
				hide = hm_str_is(k, own[n]);
			if (hide)
				continue;
			hm_buf_puts(b, first ? HM_STR("\"") : HM_STR(",\""));
			hm_buf_json(b, k);
			hm_buf_lit(b, "\":");
			hm_msgpack_to_json(&kv->val, b);
			first = false;
		}
		hm_buf_putc(b, '}');
		ok = true;
	}
	msgpack_zone_destroy(&zone);
	return ok;
}

void hm_dead_json(const struct hm_dead_letter *l, struct hm_buf *b)
{
	char name[HM_DEAD_PLACE_MAX], when[25];

	hm_buf_lit(b, "{\"id\":\"");
	hm_buf_json(b, hm_dead_name(l, name));
	hm_buf_printf(b, "\",\"place\":\"%u:%.*s\"", l->partition, HM_STRF(l->entry));
	hm_clock_rfc3339(l->at_ms, when);
	hm_buf_printf(b, ",\"at\":\"%s\"", when);
	put_text(b, "reason", l->reason);
	put_text(b, "field", l->field);
	put_text(b, "outcome", l->outcome);
	if (l->status)
		hm_buf_printf(b, ",\"status\":%llu", (unsigned long long)l->status);
	if (l->id.len)
		hm_buf_printf(b, ",\"attempts\":%llu", (unsigned long long)l->attempts);
	put_text(b, "job", l->job);
	put_text(b, "lane", l->lane);
	put_text(b, "entry", l->lane_entry);
	put_text(b, "channel", l->channel);
	put_text(b, "route", l->route);
	put_text(b, "campaign", l->campaign);
	put_text(b, "category", l->category);
	put_text(b, "tenant", l->tenant);
	if (l->accepted_ms) {
		hm_clock_rfc3339(l->accepted_ms, when);
		hm_buf_printf(b, ",\"accepted_at\":\"%s\"", when);
	}
	put_text(b, "node", l->node);
	if (l->payload.len && !put_message(b, l->payload)) {
		hm_buf_lit(b, ",\"payload\":\"");
		hm_buf_base64(b, l->payload.p, l->payload.len);
		hm_buf_putc(b, '"');
	}
	hm_buf_putc(b, '}');
}

/* -- acting ---------------------------------------------------------------------------------------- */

/* The new entry; false: refused, *why says the reason. */
static bool make_entry(struct hm_dead_run *x, struct act *a, struct hm_err *why)
{
	const struct hm_dead_opts *o = &x->o;
	struct hm_str lane = o->lane.len ? o->lane : a->l.lane;
	struct hm_ulid old;
	struct hm_job_spec spec;
	struct hm_buf b;

	hm_err_clear(why);
	a->to = hm_lane_find(lane);
	if (a->to < 0)
		a->to = HM_LANE_NORMAL;
	if (o->payload.len) {
		a->payload = o->payload;
		a->new_id = o->payload_id;
		a->has_id = true;
		return true;
	}
	if (a->l.payload.len == 0) {
		hm_err_set(why, HM_EINVAL, "the letter holds nothing that could be sent");
		return false;
	}
	msgpack_zone_clear(&x->zone);
	if (hm_job_decode(a->l.payload, &x->zone, &spec, why) != 0) {
		if (o->channel.len || o->route.len || a->l.id.len)
			return false;
		hm_err_clear(why); /* malformed, and goes back as it is */
		a->payload = a->l.payload;
		return true;
	}
	if (spec.expires_ms && spec.expires_ms <= o->tick->wall_ms && !o->renew) {
		char when[25];

		hm_clock_rfc3339(spec.expires_ms, when);
		hm_err_set(why, HM_EINVAL, "its own expiry has passed (%s); renew to send it all the same",
			   when);
		return false;
	}
	if (spec.expires_ms <= o->tick->wall_ms)
		spec.expires_ms = 0;
	if (o->channel.len || o->route.len) {
		spec.channel = o->channel;
		spec.route = o->route;
	}
	spec.n0 = spec.attempts = 0;
	spec.res.there = false;
	if (spec.at_ms <= o->tick->wall_ms)
		spec.at_ms = 0;
	if (hm_ulid_parse(a->l.id, &old)) {
		spec.of = hm_str_n((const char *)old.b, sizeof(old.b));
	} else {
		spec.of = HM_STR_NULL;
	}
	hm_ulid_new(&a->new_id, o->tick->wall_ms);
	a->has_id = true;
	hm_buf_init_arena(&b, &x->arena, HM_JOB_MAX_BYTES);
	hm_job_put_entry(&b, &spec, &a->new_id, HM_STR_NULL, 0, spec.n_rcpts);
	if (b.err) {
		hm_err_set(why, b.err, "the message is too large");
		return false;
	}
	a->payload = hm_buf_str(&b);
	return true;
}

static void on_pause(struct hm_timer *t)
{
	struct hm_dead_run *x = hm_container_of(t, struct hm_dead_run, pause);

	HM_CHECK(x, RUN_MAGIC);
	next_page(x);
}

static void page_done(struct hm_dead_run *x)
{
	if (x->o.rate && x->o.kind == HM_DEAD_REPLAY && !x->o.dry_run && x->n_acts > 0)
		hm_timer_start(x->o.tick, &x->pause, x->n_acts * 1000 / x->o.rate + 1);
	else
		next_page(x);
}

static void on_acted(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_dead_run *x = arg;

	HM_CHECK(x, RUN_MAGIC);
	(void)hm_fault(HM_FAULT_replay_after);
	if (reply == NULL) {
		x->err = *err;
		hm_err_wrap(&x->err,
			    "some letters may have been taken or not; asked again, the rest follows");
		finish(x);
		return;
	}
	for (size_t i = 0; i < x->n_acts; i++) {
		struct act *a = &x->acts[i];
		const struct hm_reply *r = hm_reply_at(reply, i);

		if (r == NULL || r->i != 1)
			tell(x, &a->l, HM_DEAD_GONE, NULL, NULL);
		else if (x->o.kind == HM_DEAD_DROP)
			tell(x, &a->l, HM_DEAD_DROPPED, NULL, NULL);
		else
			tell(x, &a->l, HM_DEAD_REPLAYED, a->has_id ? &a->new_id : NULL, NULL);
	}
	page_done(x);
}

/* Letters of the page that are to be taken. */
static void send_acts(struct hm_dead_run *x)
{
	const struct hm_dead_opts *o = &x->o;
	struct hm_str keys[3 + HM_LANE_COUNT], args[2 + 6 * PAGE];
	char k[3 + HM_LANE_COUNT][128], now[24], num[PAGE][2][12];
	static const char *const what[] = {"dead", "dead:ids", "dead:gone"};
	uint32_t p = x->acts[0].l.partition;
	size_t n = 0;

	for (size_t i = 0; i < 3; i++)
		keys[i] = hm_str_n(k[i], hm_job_key(o->prefix, p, what[i], k[i], sizeof(k[i])));
	for (int l = 0; l < HM_LANE_COUNT; l++)
		keys[3 + l] = hm_str_n(k[3 + l], hm_job_stream_key(o->prefix, p, (enum hm_lane)l, k[3 + l],
								   sizeof(k[3 + l])));
	snprintf(now, sizeof(now), "%llu", (unsigned long long)o->tick->wall_ms);
	args[n++] = hm_str_c(now);
	args[n++] = HM_STR(GONE_KEEP);
	for (size_t i = 0; i < x->n_acts; i++) {
		struct act *a = &x->acts[i];

		snprintf(num[i][0], sizeof(num[i][0]), "%d", hm_max(hm_lane_find(a->l.lane), 0));
		snprintf(num[i][1], sizeof(num[i][1]), "%d", o->kind == HM_DEAD_DROP ? -1 : a->to);
		args[n++] = a->l.entry;
		args[n++] = a->l.id;
		args[n++] = hm_str_c(num[i][0]);
		args[n++] = a->l.lane_entry;
		args[n++] = hm_str_c(num[i][1]);
		args[n++] = o->kind == HM_DEAD_DROP ? HM_STR("") : a->payload;
	}
	(void)hm_fault(HM_FAULT_replay_before);
	hm_redis_eval(o->redis, &act_script, keys, hm_countof(keys), args, n, on_acted, x);
}

/* The reply goes, what is waited for stays. */
static bool keep(struct hm_dead_run *x, struct hm_str *s)
{
	if (s->len == 0)
		return true;
	*s = hm_arena_str(&x->arena, *s);
	return s->p != NULL;
}

static bool keep_letter(struct hm_dead_run *x, struct hm_dead_letter *l)
{
	bool ok = keep(x, &l->entry);

	for (size_t f = 0; ok && f < hm_countof(fields); f++)
		if (!fields[f].number)
			ok = keep(x, (struct hm_str *)(void *)((char *)l + fields[f].off));
	return ok;
}

static void take(struct hm_dead_run *x, const struct hm_dead_letter *l)
{
	struct act *a = &x->acts[x->n_acts];
	struct hm_err why = {0};

	if (x->o.kind == HM_DEAD_LIST) {
		tell(x, l, HM_DEAD_FOUND, NULL, NULL);
		return;
	}
	memset(a, 0, sizeof(*a));
	a->l = *l;
	if (!keep_letter(x, &a->l)) {
		hm_err_set(&x->err, HM_ENOMEM, "out of memory");
		return;
	}
	if (x->o.kind == HM_DEAD_REPLAY && !make_entry(x, a, &why))
		tell(x, &a->l, HM_DEAD_REFUSED, NULL, &why);
	else if (x->o.dry_run)
		tell(x, &a->l, HM_DEAD_FOUND, NULL, NULL);
	else
		x->n_acts++;
}

/* -- by name ------------------------------------------------------------------------------------- */

static void next_id(struct hm_dead_run *x);

static void no_such(struct hm_dead_run *x)
{
	struct hm_dead_letter l = {.id = x->o.ids[x->next_id - 1]};

	tell(x, &l, HM_DEAD_GONE, NULL, NULL);
}

/* What was read has been looked at: act on it, or read on. */
static void go_on(struct hm_dead_run *x)
{
	if (x->err.code)
		finish(x);
	else if (x->n_acts > 0)
		send_acts(x);
	else
		page_done(x);
}

static void on_fetched(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_dead_run *x = arg;
	const struct hm_reply *e = hm_reply_at(reply, 0), *id = hm_reply_at(e, 0), *v = hm_reply_at(e, 1);

	HM_CHECK(x, RUN_MAGIC);
	if (reply == NULL) {
		x->err = *err;
		finish(x);
		return;
	}
	x->n_acts = 0;
	if (id == NULL || v == NULL) {
		no_such(x);
	} else {
		struct hm_dead_letter l;

		read_letter(&l, x->partition, id->s, v->v, v->n);
		take(x, &l);
	}
	go_on(x);
}

static void fetch(struct hm_dead_run *x, struct hm_str entry)
{
	char k[128];
	struct hm_str argv[] = {HM_STR("XRANGE"), HM_STR_NULL, entry, entry};

	argv[1] = hm_str_n(k, hm_job_key(x->o.prefix, x->partition, "dead", k, sizeof(k)));
	hm_redis_send(x->o.redis, argv[1], argv, hm_countof(argv), on_fetched, x);
}

struct where {
	struct hm_dead_run *x;
	uint32_t partition;
};

static void on_where(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct where *w = arg;
	struct hm_dead_run *x = w->x;

	HM_CHECK(x, RUN_MAGIC);
	if (reply == NULL)
		x->err = *err;
	else if (reply->type == HM_REPLY_STR && reply->s.len < sizeof(x->last)) {
		x->partition = w->partition;
		memcpy(x->last, reply->s.p, reply->s.len);
		x->last[reply->s.len] = '\0';
	}
	if (--x->waiting > 0)
		return;
	if (x->err.code) {
		finish(x);
	} else if (x->last[0]) {
		fetch(x, hm_str_c(x->last));
	} else {
		no_such(x);
		x->n_acts = 0;
		page_done(x);
	}
}

static void next_id(struct hm_dead_run *x)
{
	struct hm_str id, entry, argv[3];
	struct where *w;
	char k[128];

	if (x->next_id == x->o.n_ids) {
		finish(x);
		return;
	}
	hm_arena_reset(&x->arena);
	id = x->o.ids[x->next_id++];
	if (hm_dead_place_parse(id, &x->partition, &entry) && x->partition < x->o.partitions) {
		fetch(x, entry);
		return;
	}
	x->last[0] = '\0';
	w = hm_arena_alloc(&x->arena, x->o.partitions * sizeof(*w));
	id = hm_arena_str(&x->arena, id);
	if (w == NULL || id.p == NULL) {
		hm_err_set(&x->err, HM_ENOMEM, "out of memory");
		finish(x);
		return;
	}
	for (size_t i = 0; i < id.len; i++) /* ids are kept in upper case */
		if (id.p[i] >= 'a' && id.p[i] <= 'z')
			((char *)(uintptr_t)id.p)[i] = (char)(id.p[i] - 'a' + 'A');
	x->waiting = x->o.partitions;
	for (uint32_t p = 0; p < x->o.partitions; p++) {
		w[p] = (struct where){x, p};
		argv[0] = HM_STR("HGET");
		argv[1] = hm_str_n(k, hm_job_key(x->o.prefix, p, "dead:ids", k, sizeof(k)));
		argv[2] = id;
		hm_redis_send(x->o.redis, argv[1], argv, 3, on_where, &w[p]);
	}
}

/* -- page by page --------------------------------------------------------------------------------- */

static void on_page(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct hm_dead_run *x = arg;
	const struct hm_reply *last = hm_reply_at(reply, 0), *end = hm_reply_at(reply, 1),
			      *to = hm_reply_at(reply, 2), *v = hm_reply_at(reply, 3);

	HM_CHECK(x, RUN_MAGIC);
	if (reply == NULL || v == NULL) {
		if (err)
			x->err = *err;
		else
			hm_err_set(&x->err, HM_EREDIS, "Redis gave no page of dead letters");
		finish(x);
		return;
	}
	if (last->s.len && last->s.len < sizeof(x->last)) {
		memcpy(x->last, last->s.p, last->s.len);
		x->last[last->s.len] = '\0';
	}
	if (to->s.len < sizeof(x->to)) {
		memcpy(x->to, to->s.p, to->s.len);
		x->to[to->s.len] = '\0';
	}
	x->ended = end->i == 1;
	x->n_acts = 0;
	for (size_t i = 0; i < v->n && x->err.code == 0; i++) {
		const struct hm_reply *e = &v->v[i];
		struct hm_dead_letter l;

		if (e->n == 0)
			continue;
		read_letter(&l, x->partition, e->v[0].s, e->v + 1, e->n - 1);
		take(x, &l);
	}
	go_on(x);
}

static void ask_page(struct hm_dead_run *x)
{
	const struct hm_dead_opts *o = &x->o;
	const struct hm_dead_filter *f = &o->filter;
	bool desc = o->kind == HM_DEAD_LIST;
	uint64_t most = PAGE, done = x->t.found + x->t.replayed + x->t.dropped + x->t.refused + x->t.gone;
	char k[128], from[64], to[64], max[24];
	struct hm_str key, args[13];

	if (o->rate)
		most = hm_max(hm_min(most, (uint64_t)o->rate / 10), (uint64_t)1);
	if (o->limit)
		most = hm_min(most, o->limit - done);
	snprintf(max, sizeof(max), "%llu", (unsigned long long)most);
	if (x->last[0])
		snprintf(from, sizeof(from), "(%s", x->last);
	else if (desc)
		snprintf(from, sizeof(from), "%s", "+");
	else
		snprintf(from, sizeof(from), "%llu", (unsigned long long)f->since_ms);
	if (desc && !x->last[0] && f->until_ms)
		snprintf(from, sizeof(from), "%llu", (unsigned long long)f->until_ms);
	if (desc)
		snprintf(to, sizeof(to), "%llu", (unsigned long long)f->since_ms);
	else if (f->until_ms)
		snprintf(to, sizeof(to), "%llu", (unsigned long long)f->until_ms);
	else
		snprintf(to, sizeof(to), "%s", x->to[0] ? x->to : "$");
	key = hm_str_n(k, hm_job_key(o->prefix, x->partition, "dead", k, sizeof(k)));
	args[0] = desc ? HM_STR("desc") : HM_STR("asc");
	args[1] = hm_str_c(from);
	args[2] = hm_str_c(to);
	args[3] = HM_STR(LOOK);
	args[4] = hm_str_c(max);
	args[5] = o->full || o->kind == HM_DEAD_REPLAY ? HM_STR("1") : HM_STR("0");
	args[6] = f->reason;
	args[7] = f->outcome;
	args[8] = f->campaign;
	args[9] = f->channel;
	args[10] = f->category;
	args[11] = f->tenant;
	args[12] = f->lane;
	hm_redis_eval(o->redis, &page_script, &key, 1, args, hm_countof(args), on_page, x);
}

static void next_page(struct hm_dead_run *x)
{
	if (x->o.n_ids) {
		next_id(x);
		return;
	}
	hm_arena_reset(&x->arena);
	if (x->ended) {
		x->partition++;
		x->last[0] = x->to[0] = '\0';
		x->ended = false;
	}
	if (x->partition >= x->o.partitions) {
		finish(x);
		return;
	}
	if (full(x)) {
		x->t.more = true;
		snprintf(x->t.next, sizeof(x->t.next), "%u:%s", x->partition, x->last[0] ? x->last : "0-0");
		finish(x);
		return;
	}
	ask_page(x);
}

static void on_start(struct hm_timer *t)
{
	struct hm_dead_run *x = hm_container_of(t, struct hm_dead_run, pause);

	HM_CHECK(x, RUN_MAGIC);
	hm_timer_init(&x->pause, on_pause);
	next_page(x);
}

int hm_dead_run(const struct hm_dead_opts *o, struct hm_err *e)
{
	struct hm_dead_run *x;
	struct hm_str entry = HM_STR_NULL;
	uint32_t partition = 0;

	if (o->after.len &&
	    (!hm_dead_place_parse(o->after, &partition, &entry) || partition >= o->partitions)) {
		hm_err_set(e, HM_EINVAL, "after: must be the next of the answer before");
		hm_err_field(e, "after");
		return HM_EINVAL;
	}
	for (size_t i = 0; i < o->n_ids; i++) {
		struct hm_ulid id;
		struct hm_str at;
		uint32_t p;

		if (hm_ulid_parse(o->ids[i], &id) || hm_dead_place_parse(o->ids[i], &p, &at))
			continue;
		hm_err_set(e, HM_EINVAL,
			   "\"%.*s\" is no dead letter: give the id of a message, or a place like "
			   "3:1767323045000-0",
			   (int)hm_min(o->ids[i].len, (size_t)60), o->ids[i].p);
		hm_err_field(e, "ids");
		return HM_EINVAL;
	}
	x = calloc(1, sizeof(*x));
	if (x == NULL || !msgpack_zone_init(&x->zone, 8192)) {
		free(x);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	HM_MAGIC_SET(x, RUN_MAGIC);
	x->o = *o;
	x->partition = partition;
	/* "0-0": from the beginning of that partition */
	if (entry.len && !hm_str_is(entry, "0-0"))
		snprintf(x->last, sizeof(x->last), "%.*s", HM_STRF(entry));
	hm_arena_init(&x->arena, NULL, 0);
	hm_timer_init(&x->pause, on_start); /* nothing is called back from inside this call */
	hm_timer_start(o->tick, &x->pause, 0);
	return 0;
}
