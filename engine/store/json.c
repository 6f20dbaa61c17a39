/*
 * json.c - messages and balances as the API shows them
 */
#include "base/clock.h"
#include "base/json.h"
#include "store/ledger.h"

static void put_key(struct hm_buf *b, const char *key)
{
	if (b->len && b->p[b->len - 1] != '{')
		hm_buf_putc(b, ',');
	hm_buf_putc(b, '"');
	hm_buf_puts(b, hm_str_c(key));
	hm_buf_lit(b, "\":");
}

static void put_text(struct hm_buf *b, const char *key, struct hm_str v)
{
	put_key(b, key);
	hm_buf_putc(b, '"');
	hm_buf_json(b, v);
	hm_buf_putc(b, '"');
}

static void put_if(struct hm_buf *b, const char *key, struct hm_str v)
{
	if (v.len)
		put_text(b, key, v);
}

/* As it is when it is whole; as text when the disk gave something else. */
static void put_json(struct hm_buf *b, const char *key, struct hm_str v)
{
	struct hm_buf check;
	struct hm_err e;

	hm_buf_init(&check, 16 * HM_LEDGER_FACTS_MAX);
	if (hm_json_to_msgpack(v, &check, &e) == 0) {
		put_key(b, key);
		hm_buf_puts(b, v);
	} else {
		put_text(b, key, v);
	}
	hm_buf_fini(&check);
}

static void put_id(struct hm_buf *b, const char *key, const struct hm_ulid *id)
{
	char text[HM_ULID_TEXT + 1];

	hm_ulid_text(id, text);
	put_text(b, key, hm_str_c(text));
}

static void put_time(struct hm_buf *b, const char *key, uint64_t ms)
{
	char text[25];

	hm_clock_rfc3339(ms, text);
	put_text(b, key, hm_str_c(text));
}

static void put_attempt(struct hm_buf *b, const struct hm_ledger_attempt *t)
{
	hm_buf_putc(b, '{');
	put_time(b, "at", t->at_ms);
	put_if(b, "channel", t->channel);
	put_text(b, "outcome", hm_str_c(hm_outcome_name(t->outcome)));
	if (t->status) {
		put_key(b, "status");
		hm_buf_u64(b, t->status);
	}
	put_key(b, "took_us");
	hm_buf_u64(b, t->took_us);
	put_if(b, "reason", t->reason);
	put_if(b, "provider_id", t->provider_id);
	hm_buf_putc(b, '}');
}

void hm_ledger_msg_json(const struct hm_ledger_msg *m, struct hm_buf *b)
{
	hm_buf_putc(b, '{');
	put_id(b, "id", &m->id);
	put_id(b, "job", &m->job);
	put_text(b, "state", hm_str_c(hm_state_name(m->state)));
	put_text(b, "lane", hm_str_c(hm_lane_name(m->lane)));
	put_time(b, "accepted_at", m->accepted_ms);
	put_time(b, "updated_at", m->updated_ms);
	put_if(b, "campaign", m->campaign);
	put_if(b, "user", m->user);
	put_if(b, "address", m->address);
	put_if(b, "channel", m->channel);
	put_if(b, "template", m->template_ref);
	put_if(b, "reason", m->reason);
	if (m->has_of)
		put_id(b, "replay_of", &m->of);
	if (m->facts.len)
		put_json(b, "facts", m->facts);
	put_key(b, "attempts");
	hm_buf_putc(b, '[');
	for (size_t i = 0; i < m->n_attempts; i++) {
		if (i)
			hm_buf_putc(b, ',');
		put_attempt(b, &m->attempts[i]);
	}
	hm_buf_lit(b, "]}");
}

static void put_number(struct hm_buf *b, const char *key, uint64_t v)
{
	put_key(b, key);
	hm_buf_u64(b, v);
}

void hm_ledger_balance_json(const struct hm_ledger_balance *r, bool is_total, struct hm_buf *b)
{
	hm_buf_putc(b, '{');
	if (!is_total)
		put_text(b, "campaign", r->campaign);
	put_number(b, "accepted", r->accepted);
	for (int s = 0; s < HM_ST_COUNT; s++)
		if (hm_state_final((enum hm_state)s) && s != HM_ST_DELIVERED)
			put_number(b, hm_state_name((enum hm_state)s),
				   hm_ledger_balance_of(r, (enum hm_state)s));
	put_number(b, "pending", r->pending);
	put_number(b, "delivered", r->by_state[HM_ST_DELIVERED]);
	put_number(b, "unknown_attempts", r->unknown_attempts);
	put_number(b, "repeats", r->repeats);
	put_number(b, "replays", r->replays);
	put_number(b, "moved", r->moved);
	put_key(b, "balanced");
	hm_buf_puts(b, hm_ledger_balanced(r) ? HM_STR("true") : HM_STR("false"));
	hm_buf_putc(b, '}');
}
