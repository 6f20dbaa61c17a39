/*
 * spill.c - of a tenant that floods a lane, what is more than its share is put aside in Redis
 *
 * A stream is first in, first out: a flood of one tenant would hide who stands behind it. So reading goes on
 * while a tenant fills its share of what is read ahead, and further entries of it move, in one script,
 *
 *   {hm:p}:q:<lane>  ──put──▶  {hm:p}:spill:<lane>:<tenant>, a list of entry id, payload, ...
 *          ▲                              │
 *          └────────────back──────────────┘   when little of the tenant is left in hand
 *
 * so that an entry is in exactly one place at any time. `{hm:p}:spill`, a hash, counts the entries of each list
 * by "<lane number>:<tenant>". An entry that came back stands at the end of its stream with a second field `s`,
 * the id it had at first: the ids of its messages and its deadline still follow from that, and it is never put
 * aside again. A put moves only what is still pending, so its repetition after a lost answer does no harm; what a
 * redelivered entry had sent is compared with the ledger, so those are never put aside.
 *
 * Every process looks after the lists of the partitions it reads; the counts are asked for once a second, so that
 * those of a process that has died, or of the last run, are found.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/fault.h"
#include "base/log.h"
#include "dispatch/dispatch_int.h"

#define PUT_MAGIC   0x73707574u
#define BACK_MAGIC  0x7362636bu
#define LOOK_MAGIC  0x736c6f6bu
#define SHARE_BYTES (16u << 20) /* of all tenants together, see pull.c BUFFER_MAX_BYTES */
#define PUT_ENTRIES 500u
#define PUT_BYTES   (1u << 20)
#define BACK_MAX    100u /* entries: Redis serves nobody else meanwhile */
#define BACK_BYTES  (1u << 20)
#define OPEN_MAX    8u	 /* puts not answered, above which nothing more is read */
#define TENANTS_MAX 4096 /* with something aside; of others nothing is put there */
#define LOOK_MS	    1000
#define LOST_MS	    5000 /* what was brought back should have been read by then; another process may have */

static struct hm_redis_script put_script = {
	.name = "spill_put",
	/* KEYS: stream, counts, list; ARGV: group, field of counts, then entry id and payload of each */
	.source = "local n = 0\n"
		  "for i = 3, #ARGV, 2 do\n"
		  "  if redis.call('XACK', KEYS[1], ARGV[1], ARGV[i]) == 1 then\n"
		  "    redis.call('RPUSH', KEYS[3], ARGV[i], ARGV[i + 1])\n"
		  "    redis.call('XDEL', KEYS[1], ARGV[i])\n"
		  "    n = n + 1\n"
		  "  end\n"
		  "end\n"
		  "if n > 0 then redis.call('HINCRBY', KEYS[2], ARGV[2], n) end\n"
		  "return n\n",
};
static struct hm_redis_script back_script = {
	.name = "spill_back",
	/* KEYS: stream, counts, list; ARGV: field of counts, entries. Returns {moved, left}. */
	.source = "local v = redis.call('LPOP', KEYS[3], 2 * ARGV[2]) or {}\n"
		  "for i = 1, #v, 2 do\n"
		  "  redis.call('XADD', KEYS[1], '*', 'j', v[i + 1], 's', v[i])\n"
		  "end\n"
		  "local left = redis.call('LLEN', KEYS[3]) / 2\n"
		  "if left > 0 then redis.call('HSET', KEYS[2], ARGV[1], left)\n"
		  "else redis.call('HDEL', KEYS[2], ARGV[1]) end\n"
		  "return {#v / 2, left}\n",
};

struct pile { /* what a tenant has aside in one lane, in the partitions of this shard */
	struct hm_node node;
	uint8_t lane, name_len;
	char name[HM_TENANT_NAME];
	uint64_t total;		    /* entries */
	uint64_t coming, coming_ms; /* entries on their way back, and since when */
	uint32_t next;		    /* partition to be asked next */
	uint32_t per_entry, bytes;  /* of an entry, at most: messages, payload */
	bool known;		    /* both have been seen, not only assumed */
	bool asking, went;	    /* a script is under way; something has come back since the last look */
	uint32_t left[];	    /* entries by partition */
};

struct hm_spill {
	struct hm_dispatch *d;
	struct hm_list piles;
	struct put *open; /* being filled */
	uint32_t puts, backs, looks;
	struct hm_timer look;
};

struct put {
	uint32_t magic;
	struct hm_dispatch *d;
	struct pile *pile;
	uint32_t partition, n;
	size_t bytes;
	struct job *jobs[PUT_ENTRIES];
	struct hm_str payload[PUT_ENTRIES];
};

struct ask { /* back, or a look */
	uint32_t magic;
	struct hm_dispatch *d;
	struct pile *pile;
	uint32_t partition;
};

static struct pile *pile_find(const struct hm_spill *s, enum hm_lane lane, struct hm_str name)
{
	hm_list_foreach (&s->piles, n) {
		struct pile *p = hm_container_of(n, struct pile, node);

		if (p->lane == lane && hm_str_eq(hm_str_n(p->name, p->name_len), name))
			return p;
	}
	return NULL;
}

static struct pile *pile_get(struct hm_dispatch *d, enum hm_lane lane, struct hm_str name)
{
	struct hm_spill *s = d->spill;
	struct pile *p = pile_find(s, lane, name);

	if (p != NULL || s->piles.len >= TENANTS_MAX)
		return p;
	p = calloc(1, sizeof(*p) + d->o.partitions * sizeof(p->left[0]));
	if (p == NULL)
		return NULL;
	p->lane = (uint8_t)lane;
	p->name_len = (uint8_t)name.len;
	memcpy(p->name, name.p, name.len);
	p->per_entry = HM_JOB_MAX_RECIPIENTS; /* nothing is known: little at first */
	p->bytes = 64 * 1024;
	hm_list_push(&s->piles, &p->node);
	return p;
}

static void pile_set(struct hm_dispatch *d, struct pile *p, uint32_t partition, uint32_t left)
{
	p->total += left;
	p->total -= p->left[partition];
	hm_stats_add(d->t->stats, HM_CT_SPILLED, left);
	hm_stats_sub(d->t->stats, HM_CT_SPILLED, p->left[partition]);
	p->left[partition] = left;
}

static size_t field_of(const struct pile *p, char *out, size_t cap)
{
	int n = snprintf(out, cap, "%u:%.*s", p->lane, p->name_len, p->name);

	return (size_t)n;
}

struct names {
	char k[3][160], field[80];
	struct hm_str keys[3], f;
};

static void names_of(const struct hm_dispatch *d, const struct pile *p, uint32_t partition, struct names *x)
{
	char what[96];

	x->f = hm_str_n(x->field, field_of(p, x->field, sizeof(x->field)));
	snprintf(what, sizeof(what), "spill:%s:%.*s", hm_lane_name((enum hm_lane)p->lane), p->name_len,
		 p->name);
	x->keys[0] = hm_str_n(x->k[0], hm_job_stream_key(d->o.prefix, partition, (enum hm_lane)p->lane,
							 x->k[0], sizeof(x->k[0])));
	x->keys[1] = hm_str_n(x->k[1], hm_job_key(d->o.prefix, partition, "spill", x->k[1], sizeof(x->k[1])));
	x->keys[2] = hm_str_n(x->k[2], hm_job_key(d->o.prefix, partition, what, x->k[2], sizeof(x->k[2])));
}

/* -- aside --------------------------------------------------------------------------------------- */

static size_t sharers(const struct hm_dispatch *d, enum hm_lane lane)
{
	return hm_max(d->lanes[lane].runnable.tenants.len, (size_t)1);
}

/* All tenants together may fill half of what is read ahead, so that there is room for one who comes. */
static uint64_t share_of(const struct hm_dispatch *d, enum hm_lane lane)
{
	return hm_max(d->o.read_ahead / 2 / sharers(d, lane), (uint64_t)16);
}

static void on_put(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct put *x = arg;
	struct hm_dispatch *d;

	HM_CHECK(x, PUT_MAGIC);
	d = x->d;
	(void)hm_fault(HM_FAULT_spill_after);
	d->spill->puts--;
	for (uint32_t i = 0; i < x->n; i++)
		hm_job_free(x->jobs[i]);
	if (reply != NULL && reply->i > 0) {
		pile_set(d, x->pile, x->partition, x->pile->left[x->partition] + (uint32_t)reply->i);
	} else if (reply == NULL) {
		/* Moved, or still pending and then read again, as redelivered. Both are right. */
		HM_WARN(INGEST, "entries could not be put aside; they are read again", HM_U("entries", x->n),
			HM_E(err));
		if (!d->draining && !d->closed)
			hm_pull_again(d, x->partition, (enum hm_lane)x->pile->lane);
	}
	HM_MAGIC_CLEAR(x);
	free(x);
	if (!d->draining && !d->closed)
		hm_pull_kick(d);
}

void hm_spill_flush(struct hm_dispatch *d)
{
	struct put *x = d->spill->open;
	struct hm_str args[2 + 2 * PUT_ENTRIES];
	struct names names;

	if (x == NULL)
		return;
	d->spill->open = NULL;
	names_of(d, x->pile, x->partition, &names);
	args[0] = d->o.group;
	args[1] = names.f;
	for (uint32_t i = 0; i < x->n; i++) {
		args[2 + 2 * i] = hm_str_n(x->jobs[i]->entry, x->jobs[i]->entry_len);
		args[3 + 2 * i] = x->payload[i];
	}
	d->spill->puts++;
	(void)hm_fault(HM_FAULT_spill_before);
	hm_redis_eval(d->deps.redis, &put_script, names.keys, 3, args, 2 + 2 * (size_t)x->n, on_put, x);
}

static void learn(struct pile *p, const struct job *j)
{
	p->per_entry = p->known ? hm_max(p->per_entry, j->spec.n_rcpts) : j->spec.n_rcpts;
	p->bytes = p->known ? hm_max(p->bytes, j->bytes) : hm_max(j->bytes, 1u);
	p->known = true;
}

bool hm_spill_takes(struct job *j, struct hm_str payload)
{
	struct hm_dispatch *d = j->d;
	struct hm_spill *s = d->spill;
	const struct hm_tenant *t;
	struct put *x = s->open;
	struct pile *p;

	if (j->spec.tenant.len == 0 || j->spec.tenant.len > HM_TENANT_NAME || d->draining)
		return false;
	if (j->spilled) { /* back again */
		p = pile_find(s, (enum hm_lane)j->lane, j->spec.tenant);
		if (p != NULL)
			p->coming -= p->coming > 0;
		if (p != NULL)
			learn(p, j);
		return false;
	}
	t = hm_fair_find(&d->lanes[j->lane].runnable, j->spec.tenant);
	if (t == NULL || (t->msgs < share_of(d, (enum hm_lane)j->lane) &&
			  t->bytes < SHARE_BYTES / sharers(d, (enum hm_lane)j->lane)))
		return false;
	p = pile_get(d, (enum hm_lane)j->lane, j->spec.tenant);
	if (p == NULL)
		return false;
	if (x != NULL && (x->pile != p || x->partition != j->partition || x->n == PUT_ENTRIES ||
			  x->bytes + payload.len > PUT_BYTES)) {
		hm_spill_flush(d);
		x = NULL;
	}
	if (x == NULL) {
		x = calloc(1, sizeof(*x));
		if (x == NULL)
			return false;
		HM_MAGIC_SET(x, PUT_MAGIC);
		x->d = d;
		x->pile = p;
		x->partition = j->partition;
		s->open = x;
	}
	if (p->total == 0 && x->n == 0)
		p->known = false; /* another job, another size */
	learn(p, j);
	if (!hm_job_accept(j)) { /* it is pending in the books; or out of memory: then as any other */
		if (x->n == 0) {
			s->open = NULL;
			free(x);
		}
		return false;
	}
	x->payload[x->n] = payload;
	j->lent = true;
	x->jobs[x->n++] = j;
	x->bytes += payload.len;
	return true;
}

bool hm_spill_busy(const struct hm_dispatch *d)
{
	return d->spill->puts >= OPEN_MAX;
}

/* -- and back ------------------------------------------------------------------------------------ */

static void on_back(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *x = arg;
	const struct hm_reply *n = hm_reply_at(reply, 0), *left = hm_reply_at(reply, 1);
	struct hm_dispatch *d;

	HM_CHECK(x, BACK_MAGIC);
	d = x->d;
	(void)hm_fault(HM_FAULT_unspill_after);
	d->spill->backs--;
	x->pile->asking = false;
	if (n != NULL && left != NULL) {
		pile_set(d, x->pile, x->partition, (uint32_t)left->i);
		x->pile->coming += (uint64_t)n->i;
		x->pile->coming_ms = hm_tick_ms(d->t);
		x->pile->went |= n->i > 0;
	} else if (err != NULL && err->code == HM_EREDIS) {
		HM_ERROR(INGEST, "what was put aside cannot be brought back", HM_E(err));
	}
	HM_MAGIC_CLEAR(x);
	free(x);
}

static void bring_back(struct hm_dispatch *d, struct pile *p, uint64_t msgs)
{
	uint64_t n = hm_min(hm_max(msgs / p->per_entry, (uint64_t)1), (uint64_t)BACK_MAX);
	struct ask *x = calloc(1, sizeof(*x));
	struct hm_str args[2];
	struct names names;
	char count[24];

	if (x == NULL)
		return;
	n = hm_min(n, hm_max(BACK_BYTES / p->bytes, (uint64_t)1));
	while (p->left[p->next] == 0)
		p->next = (p->next + 1) % d->o.partitions;
	HM_MAGIC_SET(x, BACK_MAGIC);
	x->d = d;
	x->pile = p;
	x->partition = p->next;
	p->next = (p->next + 1) % d->o.partitions;
	p->asking = true;
	d->spill->backs++;
	names_of(d, p, x->partition, &names);
	snprintf(count, sizeof(count), "%llu", (unsigned long long)n);
	args[0] = names.f;
	args[1] = hm_str_c(count);
	(void)hm_fault(HM_FAULT_unspill_before);
	hm_redis_eval(d->deps.redis, &back_script, names.keys, 3, args, 2, on_back, x);
}

/* Asked after every pass: who has little left in hand, and something aside? */
void hm_spill_turn(struct hm_dispatch *d)
{
	if (hm_list_empty(&d->spill->piles) || d->draining || !d->redis_up)
		return;
	hm_list_foreach (&d->spill->piles, n) {
		struct pile *p = hm_container_of(n, struct pile, node);
		const struct hm_tenant *t;
		uint64_t share, have;

		if (p->total == 0 || p->asking)
			continue;
		t = hm_fair_find(&d->lanes[p->lane].runnable, hm_str_n(p->name, p->name_len));
		share = share_of(d, (enum hm_lane)p->lane);
		have = p->coming * p->per_entry + (t != NULL ? t->msgs : 0);
		if (have < share / 2)
			bring_back(d, p, share - have);
	}
}

/* -- the counts ---------------------------------------------------------------------------------- */

static void on_look(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct ask *x = arg;
	struct hm_dispatch *d;
	uint32_t part;

	HM_CHECK(x, LOOK_MAGIC);
	d = x->d;
	part = x->partition;
	HM_MAGIC_CLEAR(x);
	free(x);
	d->spill->looks--;
	if (reply == NULL || reply->type != HM_REPLY_ARRAY || d->closed)
		return;
	hm_list_foreach (&d->spill->piles, n) {
		struct pile *p = hm_container_of(n, struct pile, node);

		if (p->left[part] > 0 && d->spill->puts == 0 && !p->asking)
			pile_set(d, p, part, 0); /* unless it is among those that follow */
	}
	for (size_t i = 0; i + 1 < reply->n; i += 2) {
		struct hm_str f = reply->v[i].s;
		uint64_t left;
		struct pile *p;

		if (f.len < 3 || f.len > 2 + HM_TENANT_NAME || f.p[0] < '0' ||
		    f.p[0] >= '0' + HM_LANE_COUNT || f.p[1] != ':' || !hm_str_u64(reply->v[i + 1].s, &left) ||
		    left > UINT32_MAX)
			continue;
		p = pile_get(d, (enum hm_lane)(f.p[0] - '0'), hm_str_n(f.p + 2, f.len - 2));
		if (p != NULL && d->spill->puts == 0 && !p->asking)
			pile_set(d, p, part, (uint32_t)left);
	}
	hm_spill_turn(d);
}

static void tidy(struct hm_dispatch *d)
{
	hm_list_foreach_safe (&d->spill->piles, n, tmp) {
		struct pile *p = hm_container_of(n, struct pile, node);

		if (p->coming > 0 && hm_tick_ms(d->t) - p->coming_ms > LOST_MS)
			p->coming = 0;
		/* New entries may keep the tenant's share full: what has waited longest goes on nevertheless. */
		if (p->total > 0 && !p->asking && !p->went && d->redis_up)
			bring_back(d, p, share_of(d, (enum hm_lane)p->lane));
		p->went = false;
		if (p->total == 0 && !p->asking && d->spill->puts == 0 && d->spill->open == NULL &&
		    p->coming == 0) {
			hm_list_remove(&d->spill->piles, n);
			free(p);
		}
	}
}

static void on_timer(struct hm_timer *t)
{
	struct hm_spill *s = hm_container_of(t, struct hm_spill, look);
	struct hm_dispatch *d = s->d;

	if (d->draining)
		return;
	hm_timer_start(d->t, &s->look, LOOK_MS);
	if (!d->redis_up || s->looks > 0)
		return;
	tidy(d);
	for (uint32_t p = 0; p < d->o.partitions; p++) {
		struct hm_str argv[2] = {HM_STR("HGETALL"), HM_STR_NULL};
		struct ask *x;
		char k[128];

		if (!hm_pull_owns(d, p) || (x = calloc(1, sizeof(*x))) == NULL)
			continue;
		HM_MAGIC_SET(x, LOOK_MAGIC);
		x->d = d;
		x->partition = p;
		argv[1] = hm_str_n(k, hm_job_key(d->o.prefix, p, "spill", k, sizeof(k)));
		s->looks++;
		hm_redis_send(d->deps.redis, argv[1], argv, 2, on_look, x);
	}
}

uint64_t hm_spill_count(const struct hm_dispatch *d, enum hm_lane lane)
{
	uint64_t n = 0;

	hm_list_foreach (&d->spill->piles, x) {
		const struct pile *p = hm_container_of(x, const struct pile, node);

		n += p->lane == lane ? p->total : 0;
	}
	return n;
}

/* -- life ---------------------------------------------------------------------------------------- */

bool hm_spill_init(struct hm_dispatch *d)
{
	d->spill = calloc(1, sizeof(*d->spill));
	if (d->spill == NULL)
		return false;
	d->spill->d = d;
	hm_list_init(&d->spill->piles);
	hm_timer_init(&d->spill->look, on_timer);
	return true;
}

void hm_spill_start(struct hm_dispatch *d)
{
	hm_timer_start(d->t, &d->spill->look, 0);
}

void hm_spill_stop(struct hm_dispatch *d)
{
	hm_timer_stop(d->t, &d->spill->look);
}

void hm_spill_fini(struct hm_dispatch *d)
{
	struct hm_node *n;

	if (d->spill == NULL)
		return;
	hm_assert(d->spill->open == NULL && d->spill->puts == 0 && d->spill->backs == 0);
	hm_timer_stop(d->t, &d->spill->look);
	while ((n = hm_list_pop(&d->spill->piles)) != NULL)
		free(hm_container_of(n, struct pile, node));
	free(d->spill);
	d->spill = NULL;
}
