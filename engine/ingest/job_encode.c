/*
 * job_encode.c - queue entries from validated messages
 *
 *   put(message) -> policy bytes -> hash -> open chunk with these bytes, or a new one
 *                -> recipient appended -> full? -> emit
 *
 * At most OPEN_MAX chunks are open; a batch whose messages all differ (inline content
 * per message) degenerates to entries of one message, written oldest first.
 */
#include "ingest/job_encode.h"

#include <stdlib.h>

#include "base/json.h"
#include "base/list.h"
#include "base/obj.h"

#define OPEN_MAX   64
#define LABEL_ROOM (2 * HM_JOB_MAX_NAME + 3 * HM_JOB_MAX_LABEL)
/* What an entry has besides policy and recipients: map header, id, acc, key and array header. */
#define ENTRY_OVERHEAD 128

struct chunk {
	struct hm_node node; /* packer.open (oldest first) or packer.spare */
	uint64_t hash, run;
	struct hm_ulid id;
	enum hm_lane lane;
	uint32_t n, n_policy;
	struct hm_buf policy, rcpts;
	struct hm_str campaign, category, tenant, template_ref, channel; /* into labels */
	char labels[LABEL_ROOM];
};

struct hm_packer {
	uint32_t magic;
	struct hm_packer_opts o;
	struct hm_list open, spare;
	size_t held; /* bytes in open chunks */
	uint64_t runs;
	struct hm_buf policy, rcpt, entry; /* scratch */
};

/* -- pieces ------------------------------------------------------------------ */

static uint32_t put_label(struct hm_buf *b, struct hm_str key, struct hm_str v)
{
	if (v.len == 0)
		return 0;
	hm_mp_put_str(b, key);
	hm_mp_put_str(b, v);
	return 1;
}

static uint32_t put_tree(struct hm_buf *b, struct hm_str key, const msgpack_object *o)
{
	if (!o)
		return 0;
	hm_mp_put_str(b, key);
	hm_mp_put_object(b, o);
	return 1;
}

static uint32_t put_ms(struct hm_buf *b, struct hm_str key, uint64_t ms)
{
	if (ms == 0)
		return 0;
	hm_mp_put_str(b, key);
	hm_mp_put_u64(b, ms);
	return 1;
}

uint32_t hm_job_put_policy(struct hm_buf *b, const struct hm_job_spec *spec, bool with_data)
{
	uint32_t n = 0;

	n += put_label(b, HM_STR("channel"), spec->channel);
	n += put_label(b, HM_STR("route"), spec->route);
	n += put_label(b, HM_STR("template"), spec->template_ref);
	n += put_tree(b, HM_STR("content"), spec->content);
	if (spec->render) {
		hm_mp_key(b, "render");
		hm_mp_put_bool(b, true);
		n++;
	}
	if (with_data)
		n += put_tree(b, HM_STR("data"), spec->data);
	n += put_label(b, HM_STR("campaign"), spec->campaign);
	n += put_label(b, HM_STR("category"), spec->category);
	n += put_label(b, HM_STR("tenant"), spec->tenant);
	if (spec->tags && spec->tags->via.array.size)
		n += put_tree(b, HM_STR("tags"), spec->tags);
	n += put_ms(b, HM_STR("at"), spec->at_ms);
	n += put_label(b, HM_STR("at_local"), spec->at_local);
	if (spec->local_past != HM_LOCAL_NOW)
		n += put_label(b, HM_STR("local_past"), hm_str_c(hm_local_past_name(spec->local_past)));
	n += put_ms(b, HM_STR("over"), spec->over_ms);
	n += put_ms(b, HM_STR("expires"), spec->expires_ms);
	n += put_label(b, HM_STR("dedupe"), spec->dedupe);
	if (spec->bypass_caps || spec->uncounted) {
		hm_mp_key(b, "caps");
		hm_mp_put_map(b, 2);
		hm_mp_key(b, "bypass");
		hm_mp_put_bool(b, spec->bypass_caps);
		hm_mp_key(b, "count");
		hm_mp_put_bool(b, !spec->uncounted);
		n++;
	}
	if (spec->of.len) {
		hm_mp_key(b, "of");
		hm_mp_put_bin(b, spec->of);
		n++;
	}
	return n;
}

/* Own data of a recipient, or NULL. */
static const msgpack_object *rcpt_data(const msgpack_object *rcpt)
{
	const msgpack_object *d = rcpt->type == MSGPACK_OBJECT_MAP ? hm_mp_get(rcpt, HM_STR("data")) : NULL;

	return d && d->type != MSGPACK_OBJECT_NIL ? d : NULL;
}

void hm_job_put_rcpt(struct hm_buf *b, const msgpack_object *rcpt, const msgpack_object *data)
{
	if (!data || rcpt_data(rcpt)) {
		hm_mp_put_object(b, rcpt);
		return;
	}
	if (rcpt->type == MSGPACK_OBJECT_STR) {
		hm_mp_put_map(b, 2);
		hm_mp_key(b, "addr");
		hm_mp_put_object(b, rcpt);
	} else {
		uint32_t n = 0;

		for (uint32_t i = 0; i < rcpt->via.map.size; i++)
			n += rcpt->via.map.ptr[i].val.type != MSGPACK_OBJECT_NIL;
		hm_mp_put_map(b, n + 1);
		for (uint32_t i = 0; i < rcpt->via.map.size; i++) {
			const msgpack_object_kv *kv = &rcpt->via.map.ptr[i];

			if (kv->val.type == MSGPACK_OBJECT_NIL)
				continue;
			hm_mp_put_object(b, &kv->key);
			hm_mp_put_object(b, &kv->val);
		}
	}
	hm_mp_key(b, "data");
	hm_mp_put_object(b, data);
}

static void put_count(struct hm_buf *b, const char *key, uint64_t v)
{
	hm_mp_put_str(b, hm_str_c(key));
	hm_mp_put_u64(b, v);
}

static void put_res(struct hm_buf *b, const struct hm_job_resume *r)
{
	hm_mp_key(b, "res");
	hm_mp_put_map(b, 2u + (r->held ? 1 : 0) + (r->sent ? 1 : 0) + (r->chan.len ? 1 : 0) +
				 (r->route.len ? 1 : 0) + (r->pos ? 1 : 0) + (r->chan_attempts ? 1 : 0) +
				 (r->parts ? 1 : 0) + (r->hop ? 1 : 0));
	hm_mp_key(b, "job");
	hm_mp_put_bin(b, hm_str_n((const char *)r->job.b, sizeof(r->job.b)));
	put_count(b, "t", r->accepted_ms);
	if (r->hop)
		put_count(b, "hop", r->hop);
	(void)put_label(b, HM_STR("chan"), r->chan);
	(void)put_label(b, HM_STR("route"), r->route);
	if (r->pos)
		put_count(b, "pos", r->pos);
	if (r->chan_attempts)
		put_count(b, "catt", r->chan_attempts);
	if (r->parts)
		put_count(b, "parts", r->parts);
	if (r->held) {
		hm_mp_key(b, "held");
		hm_mp_put_bool(b, true);
	}
	if (r->sent) {
		hm_mp_key(b, "sent");
		hm_mp_put_bool(b, true);
	}
}

/* spec may be NULL: an entry that nobody has worked on. */
static void put_head(struct hm_buf *b, uint32_t n_policy, const struct hm_ulid *id, struct hm_str acc,
		     const struct hm_job_spec *spec)
{
	uint32_t n0 = spec ? spec->n0 : 0, att = spec ? spec->attempts : 0;
	bool res = spec && spec->res.there;

	hm_mp_put_map(b, n_policy + 2u + (acc.len ? 1 : 0) + (n0 ? 1 : 0) + (att ? 1 : 0) + (res ? 1 : 0));
	hm_mp_key(b, "id");
	hm_mp_put_bin(b, hm_str_n((const char *)id->b, sizeof(id->b)));
	if (acc.len) {
		hm_mp_key(b, "acc");
		hm_mp_put_bin(b, acc);
	}
	if (n0)
		put_count(b, "n0", n0);
	if (att)
		put_count(b, "att", att);
	if (res)
		put_res(b, &spec->res);
}

/* How many pairs hm_job_put_policy writes: the number stands before them. */
static uint32_t count_policy(const struct hm_job_spec *s)
{
	const bool there[] = {s->channel.len != 0,
			      s->route.len != 0,
			      s->template_ref.len != 0,
			      s->content != NULL,
			      s->render,
			      s->data != NULL,
			      s->campaign.len != 0,
			      s->category.len != 0,
			      s->tenant.len != 0,
			      s->tags && s->tags->via.array.size,
			      s->at_ms != 0,
			      s->at_local.len != 0,
			      s->local_past != HM_LOCAL_NOW,
			      s->over_ms != 0,
			      s->expires_ms != 0,
			      s->dedupe.len != 0,
			      s->bypass_caps || s->uncounted,
			      s->of.len != 0};
	uint32_t n = 0;

	for (size_t i = 0; i < hm_countof(there); i++)
		n += there[i];
	return n;
}

void hm_job_put_entry(struct hm_buf *b, const struct hm_job_spec *spec, const struct hm_ulid *id,
		      struct hm_str acc, uint32_t first, uint32_t n)
{
	uint32_t pairs = count_policy(spec), put;

	hm_assert(n >= 1 && n <= HM_JOB_MAX_RECIPIENTS && first + n <= spec->n_rcpts);
	put_head(b, pairs, id, acc, spec);
	put = hm_job_put_policy(b, spec, true);
	hm_assert(put == pairs);
	if (n == 1) {
		hm_mp_key(b, "to");
	} else {
		hm_mp_key(b, "rs");
		hm_mp_put_array(b, n);
	}
	for (uint32_t i = first; i < first + n; i++)
		hm_mp_put_object(b, &spec->rcpts[i]);
}

/* -- packer ------------------------------------------------------------------ */

struct hm_packer *hm_packer_new(const struct hm_packer_opts *o)
{
	struct hm_packer *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	HM_MAGIC_SET(p, HM_PACKER_MAGIC);
	p->o = *o;
	hm_assert(o->max_rcpts >= 1 && o->max_rcpts <= HM_JOB_MAX_RECIPIENTS);
	hm_assert(o->max_entry_bytes > 2 * ENTRY_OVERHEAD && o->emit);
	hm_list_init(&p->open);
	hm_list_init(&p->spare);
	hm_buf_init(&p->policy, o->max_entry_bytes);
	hm_buf_init(&p->rcpt, o->max_entry_bytes);
	hm_buf_init(&p->entry, o->max_entry_bytes + ENTRY_OVERHEAD);
	return p;
}

static void chunk_free(struct chunk *c)
{
	hm_buf_fini(&c->policy);
	hm_buf_fini(&c->rcpts);
	free(c);
}

void hm_packer_free(struct hm_packer *p)
{
	struct hm_node *n;

	if (!p)
		return;
	HM_CHECK(p, HM_PACKER_MAGIC);
	hm_list_splice(&p->spare, &p->open);
	while ((n = hm_list_pop(&p->spare)) != NULL)
		chunk_free(hm_container_of(n, struct chunk, node));
	hm_buf_fini(&p->policy);
	hm_buf_fini(&p->rcpt);
	hm_buf_fini(&p->entry);
	HM_MAGIC_CLEAR(p);
	free(p);
}

/* Writes a chunk and puts its memory aside. */
static void chunk_emit(struct hm_packer *p, struct chunk *c)
{
	struct hm_packed out = {.run = c->run,
				.lane = c->lane,
				.n = c->n,
				.id = c->id,
				.campaign = c->campaign,
				.category = c->category,
				.tenant = c->tenant,
				.template_ref = c->template_ref,
				.channel = c->channel};
	struct hm_buf *b = &p->entry;

	hm_buf_reset(b);
	put_head(b, c->n_policy, &c->id, p->o.acc, NULL);
	hm_buf_puts(b, hm_buf_str(&c->policy));
	if (c->n == 1) {
		hm_mp_key(b, "to");
	} else {
		hm_mp_key(b, "rs");
		hm_mp_put_array(b, c->n);
	}
	hm_buf_puts(b, hm_buf_str(&c->rcpts));
	hm_list_remove(&p->open, &c->node);
	p->held -= c->policy.len + c->rcpts.len;
	/* Memory for the entry may have failed: the caller sees an empty one and says so. */
	out.entry = b->err ? HM_STR_NULL : hm_buf_str(b);
	p->o.emit(p->o.arg, &out);
	hm_list_push(&p->spare, &c->node);
}

static struct hm_str keep(struct chunk *c, size_t *used, struct hm_str s)
{
	char *at = c->labels + *used;

	hm_assert(*used + s.len <= sizeof(c->labels));
	if (s.len)
		memcpy(at, s.p, s.len);
	*used += s.len;
	return hm_str_n(at, s.len);
}

static struct chunk *chunk_open(struct hm_packer *p, const struct hm_job_spec *spec, uint64_t hash,
				uint32_t n_policy, uint64_t wall_ms)
{
	struct hm_node *node;
	struct chunk *c;
	size_t used = 0;

	if (p->open.len >= OPEN_MAX)
		chunk_emit(p, hm_container_of(hm_list_first(&p->open), struct chunk, node));
	node = hm_list_pop(&p->spare);
	if (node) {
		c = hm_container_of(node, struct chunk, node);
		hm_buf_reset(&c->policy);
		hm_buf_reset(&c->rcpts);
	} else {
		c = calloc(1, sizeof(*c));
		if (!c)
			return NULL;
		hm_buf_init(&c->policy, p->o.max_entry_bytes);
		hm_buf_init(&c->rcpts, p->o.max_entry_bytes);
	}
	hm_buf_puts(&c->policy, hm_buf_str(&p->policy));
	if (c->policy.err) {
		hm_list_push(&p->spare, &c->node);
		return NULL;
	}
	c->hash = hash;
	c->run = ++p->runs;
	c->lane = spec->lane;
	c->n = 0;
	c->n_policy = n_policy;
	hm_ulid_new(&c->id, wall_ms);
	c->campaign = keep(c, &used, spec->campaign);
	c->category = keep(c, &used, spec->category);
	c->tenant = keep(c, &used, spec->tenant);
	c->template_ref = keep(c, &used, spec->template_ref);
	c->channel = keep(c, &used, spec->channel.len ? spec->channel : spec->route);
	p->held += c->policy.len;
	hm_list_push(&p->open, &c->node);
	return c;
}

static struct chunk *chunk_find(struct hm_packer *p, enum hm_lane lane, uint64_t hash)
{
	hm_list_foreach (&p->open, n) {
		struct chunk *c = hm_container_of(n, struct chunk, node);

		if (c->hash == hash && c->lane == lane &&
		    hm_str_eq(hm_buf_str(&c->policy), hm_buf_str(&p->policy)))
			return c;
	}
	return NULL;
}

int hm_packer_put(struct hm_packer *p, const struct hm_job_spec *spec, uint64_t wall_ms,
		  hm_packed_at_fn placed, void *arg, struct hm_err *e)
{
	const msgpack_object *move = NULL; /* data that goes with the recipient */
	struct hm_packed_at at = {0};
	uint32_t n_policy;
	uint64_t hash;

	HM_CHECK(p, HM_PACKER_MAGIC);
	if (spec->n_rcpts == 1 && spec->data && !rcpt_data(spec->rcpts))
		move = spec->data;
	hm_buf_reset(&p->policy);
	n_policy = hm_job_put_policy(&p->policy, spec, move == NULL);
	if (p->policy.err || p->policy.len + ENTRY_OVERHEAD > p->o.max_entry_bytes)
		return hm_err_set(e, HM_ELIMIT, "the message is larger than %zu bytes", p->o.max_entry_bytes);
	/* All recipients must fit before any is placed: a message is taken whole or not at all. */
	if (spec->n_rcpts > 1) {
		for (uint32_t i = 0; i < spec->n_rcpts; i++) {
			hm_buf_reset(&p->rcpt);
			hm_job_put_rcpt(&p->rcpt, &spec->rcpts[i], NULL);
			if (p->rcpt.err ||
			    p->policy.len + p->rcpt.len + ENTRY_OVERHEAD > p->o.max_entry_bytes)
				return hm_err_set(e, HM_ELIMIT, "recipients[%u] is larger than %zu bytes", i,
						  p->o.max_entry_bytes);
		}
	}
	hash = hm_hash64(p->policy.p, p->policy.len, 0);
	for (uint32_t i = 0; i < spec->n_rcpts; i++) {
		struct chunk *c;

		hm_buf_reset(&p->rcpt);
		hm_job_put_rcpt(&p->rcpt, &spec->rcpts[i], move);
		if (p->rcpt.err || p->policy.len + p->rcpt.len + ENTRY_OVERHEAD > p->o.max_entry_bytes)
			return hm_err_set(e, HM_ELIMIT, "the message is larger than %zu bytes",
					  p->o.max_entry_bytes);
		c = chunk_find(p, spec->lane, hash);
		if (c && c->policy.len + c->rcpts.len + p->rcpt.len + ENTRY_OVERHEAD > p->o.max_entry_bytes) {
			if (at.n && at.run == c->run) {
				placed(arg, &at);
				at.n = 0;
			}
			chunk_emit(p, c);
			c = NULL;
		}
		if (!c)
			c = chunk_open(p, spec, hash, n_policy, wall_ms);
		if (!c)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		if (at.n == 0 || at.run != c->run) {
			if (at.n)
				placed(arg, &at);
			at = (struct hm_packed_at){.run = c->run, .index = c->n, .id = c->id};
			hm_ulid_add(&at.id, c->n);
		}
		hm_buf_puts(&c->rcpts, hm_buf_str(&p->rcpt));
		hm_assert(c->rcpts.err == 0 || c->rcpts.err == HM_ENOMEM);
		if (c->rcpts.err)
			return hm_err_set(e, HM_ENOMEM, "out of memory");
		p->held += p->rcpt.len;
		at.n++;
		if (++c->n == p->o.max_rcpts) {
			placed(arg, &at);
			at.n = 0;
			chunk_emit(p, c);
		}
	}
	if (at.n)
		placed(arg, &at);
	while (p->held > p->o.max_held_bytes && p->open.len)
		chunk_emit(p, hm_container_of(hm_list_first(&p->open), struct chunk, node));
	return 0;
}

void hm_packer_flush(struct hm_packer *p)
{
	HM_CHECK(p, HM_PACKER_MAGIC);
	while (p->open.len)
		chunk_emit(p, hm_container_of(hm_list_first(&p->open), struct chunk, node));
}
