/*
 * cred_make.c - what making a credential takes: sign a JWT, ask for a token, judge the answer
 */
#include "adapter/cred.h"
#include "adapter/model.h"

#define MAX_JWT (64u << 10)

static int mint(const struct hm_channel *c, struct hm_eval *ev, struct hm_str *token_r, struct hm_err *e)
{
	struct hm_buf header, claims, out;
	const struct hm_val *key = &c->jwt_key->k;
	int rc;

	hm_buf_init_arena(&header, ev->a, MAX_JWT);
	hm_buf_init_arena(&claims, ev->a, MAX_JWT);
	hm_tree_json(ev, c->jwt_header, &header);
	hm_tree_json(ev, c->jwt_claims, &claims);
	if (ev->rc || header.err || claims.err)
		return ev->rc ? ev->rc : hm_err_set(e, HM_ENOMEM, "out of memory");
	hm_buf_init_arena(&out, ev->a, MAX_JWT);
	rc = hm_jwt(key->t == HM_V_KEY ? key->key : NULL, key->t == HM_V_STR ? key->s : HM_STR(""), c->alg,
		    hm_buf_str(&header), hm_buf_str(&claims), &out, e);
	if (rc == 0)
		*token_r = hm_buf_str(&out);
	return rc;
}

int hm_cred_mint(const struct hm_channel *ch, uint64_t wall_ms, struct hm_arena *a, struct hm_str *token_r,
		 struct hm_err *e)
{
	struct hm_eval ev;
	int rc;

	HM_CHECK(ch, HM_CHANNEL_MAGIC);
	if (!ch->cred_jwt)
		return hm_err_set(e, HM_EINVAL, "channel %.*s signs no token itself", HM_STRF(ch->info.name));
	rc = hm_channel_token_eval(&ev, ch, a, wall_ms, HM_STR(""), e);
	return rc ? rc : mint(ch, &ev, token_r, e);
}

bool hm_cred_exchanges(const struct hm_channel *ch)
{
	return ch->cred_exchange;
}

int hm_request_elsewhere(const struct hm_channel *c, struct hm_eval *ev, const struct hm_request *r,
			 const char *what, struct hm_str *base_r, struct hm_origin_opts *o, struct hm_err *e)
{
	struct hm_val v = hm_eval_tpl(ev, r->url);
	struct hm_str url = hm_val_text(&v, ev->a);
	int rc;

	o->connect_to = o->server_name = HM_STR("");
	o->deny_private = false; /* it comes from the configuration, not from outside */
	rc = url.len ? hm_wire_parse_url(url, o, base_r, e) : hm_err_set(e, HM_EINVAL, "the URL is empty");
	if (rc != 0)
		return hm_err_wrap(e, "channel %.*s: %s", HM_STRF(c->info.name), what);
	ev->scheme = o->tls ? HM_STR("https") : HM_STR("http");
	ev->host = o->port == (o->tls ? 443 : 80)
			   ? o->host
			   : hm_arena_printf(ev->a, "%.*s:%u", HM_STRF(o->host), o->port);
	return 0;
}

int hm_cred_request(const struct hm_channel *ch, uint64_t wall_ms, struct hm_str nonce, struct hm_arena *a,
		    struct hm_call *call, struct hm_origin_opts *origin_r, struct hm_err *e)
{
	return hm_cred_request_with(ch, HM_STR(""), wall_ms, nonce, a, call, origin_r, e);
}

int hm_cred_request_with(const struct hm_channel *ch, struct hm_str refresh_token, uint64_t wall_ms,
			 struct hm_str nonce, struct hm_arena *a, struct hm_call *call,
			 struct hm_origin_opts *origin_r, struct hm_err *e)
{
	struct hm_str base = ch->base_path;
	struct hm_eval ev;
	int rc;

	HM_CHECK(ch, HM_CHANNEL_MAGIC);
	if (!ch->cred_exchange)
		return hm_err_set(e, HM_EINVAL, "channel %.*s asks for no token", HM_STRF(ch->info.name));
	rc = hm_channel_token_eval(&ev, ch, a, wall_ms, nonce, e);
	ev.refresh_token = refresh_token.len ? refresh_token : ch->first_refresh;
	if (rc == 0 && ch->cred_jwt)
		rc = mint(ch, &ev, &ev.jwt, e);
	*origin_r = ch->info.origin;
	/* Token calls are rare and go the slow, tolerant way; a clear-text test server says what it speaks. */
	if (origin_r->version == HM_HTTP_2)
		origin_r->version = HM_HTTP_AUTO;
	if (rc == 0 && ch->token_request.url)
		rc = hm_request_elsewhere(ch, &ev, &ch->token_request, "token request", &base, origin_r, e);
	return rc ? rc : hm_request_build(&ev, &ch->token_request, base, call);
}

void hm_cred_lifetime(const struct hm_channel *ch, uint64_t wall_ms, struct hm_cred_result *r)
{
	const struct hm_credential *cr = &ch->ad->cred;

	r->expires_at_ms = wall_ms + cr->lifetime_ms;
	if (cr->refresh_ms)
		r->refresh_at_ms = wall_ms + cr->refresh_ms;
	else
		r->refresh_at_ms = wall_ms + cr->lifetime_ms - hm_min(cr->margin_ms, cr->lifetime_ms / 2);
	if (cr->max_age_ms)
		r->refresh_at_ms = hm_min(r->refresh_at_ms, wall_ms + cr->max_age_ms);
}

void hm_cred_judge(const struct hm_channel *ch, const struct hm_call *call, uint64_t wall_ms,
		   struct hm_arena *a, struct hm_cred_result *r)
{
	const struct hm_credential *cr = &ch->ad->cred;
	struct hm_verdict v = {.outcome = HM_OUT_PROVIDER_DOWN};
	struct hm_eval ev;
	struct hm_val val;
	uint64_t left;

	memset(r, 0, sizeof(*r));
	if (call->fate != HM_FATE_ANSWERED) {
		/* Asking again for a token harms nobody: there is no "maybe" here. */
		r->outcome = HM_OUT_PROVIDER_DOWN;
		r->reason = hm_str_c(hm_err_name(call->err.code));
		r->detail = hm_arena_str(a, hm_str_c(call->err.text));
		return;
	}
	hm_eval_channel(&ev, ch, a, wall_ms, NULL);
	ev.call = call;
	hm_answer_judge(&cr->answer, &ev, &v);
	r->outcome = v.outcome;
	r->reason = v.reason;
	r->detail = v.detail;
	r->retry_after_ms = v.retry_after_ms;
	r->operator_needed = v.operator_needed;
	if (v.outcome != HM_OUT_OK)
		return;
	val = hm_eval(&ev, cr->token);
	r->token = val.t == HM_V_STR ? hm_arena_str(a, val.s) : HM_STR("");
	if (r->token.len == 0) {
		r->outcome = HM_OUT_UNKNOWN;
		r->reason = HM_STR("no token");
		r->detail = HM_STR("the answer counts as a success but has no token in it");
		return;
	}
	if (cr->refresh_token) {
		val = hm_eval(&ev, cr->refresh_token);
		r->refresh_token = val.t == HM_V_STR ? hm_arena_str(a, val.s) : HM_STR("");
	}
	hm_cred_lifetime(ch, wall_ms, r);
	if (cr->expires == NULL)
		return;
	val = hm_eval(&ev, cr->expires);
	if (hm_time_of(&val, cr->expires_as, wall_ms, &left) && left > 0) {
		r->expires_at_ms = wall_ms + left;
		r->refresh_at_ms = r->expires_at_ms - hm_min(cr->margin_ms, left / 2);
		if (cr->max_age_ms)
			r->refresh_at_ms = hm_min(r->refresh_at_ms, wall_ms + cr->max_age_ms);
	}
}
