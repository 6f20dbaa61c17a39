/*
 * profile_wecom.c - WeCom (企业微信) application messages
 *
 *   GET  /cgi-bin/gettoken?corpid=&corpsecret=
 *   POST /cgi-bin/message/send?access_token=
 *
 * Every user id of touser is an id of the ledger: one message, many recipients.
 * Special user ids (they are per recipient): bad* is invalid, unlicensed* has no
 * licence, err-<code> makes the whole call answer that errcode. agentid
 * 7000<code, 6 digits> does the same (7000045009: 45009). corpid or corpsecret that begin with "bad" are refused.
 * Source: developer.work.weixin.qq.com/document/path/90236 and 90313.
 */
#include <stdlib.h>

#include "scan.h"
#include "tokens.h"
#include "worker.h"

#define AGENT_BASE 7000000000
#define MAX_USERS  1000

/* The texts a caller may see; other codes answer with "special answer". */
static const struct sink_special special[] = {
	{"err--1", "-1", 200, "system busy"},
	{"err-40001", "40001", 200, "invalid credential, access_token is invalid or not latest"},
	{"err-40003", "40003", 200, "invalid openid"},
	{"err-40008", "40008", 200, "invalid message type"},
	{"err-40014", "40014", 200, "invalid access_token"},
	{"err-40032", "40032", 200, "invalid openid list size"},
	{"err-40033", "40033", 200, "invalid content size"},
	{"err-40056", "40056", 200, "invalid agentid"},
	{"err-41001", "41001", 200, "access_token missing"},
	{"err-42001", "42001", 200, "access_token expired"},
	{"err-43004", "43004", 200, "require subscribe"},
	{"err-44004", "44004", 200, "empty content"},
	{"err-45002", "45002", 200, "content size out of limit"},
	{"err-45009", "45009", 200, "api freq out of limit"},
	{"err-45033", "45033", 200, "api concurrent out of limit"},
	{"err-48002", "48002", 200, "api forbidden"},
	{"err-50002", "50002", 200, "user unauthorized"},
	{"err-60011", "60011", 200, "no privilege to access/modify contact/party/agent"},
	{"err-60020", "60020", 200, "not allow to access from your ip"},
	{"err-60111", "60111", 200, "userid not found"},
	{"err-81013", "81013", 200, "user & party & tag all invalid"},
	{"err-82001", "82001", 200, "user & party & tag all empty"},
	{"err-301002", "301002", 200, "no permission"},
	{"err-301007", "301007", 200, "corp disbanded"},
};

static const char *const msgtypes[] = {"text",		"image",   "voice",  "video",	 "file",
				       "textcard",	"news",	   "mpnews", "markdown", "miniprogram_notice",
				       "template_card", "taskcard"};

static const struct sink_options *options;

static int init(const struct sink_options *o, struct hm_err *e)
{
	options = o;
	for (size_t i = 0; i < o->wecom_corp.n; i++)
		if (!strchr(o->wecom_corp.v[i], ':'))
			return hm_err_set(e, HM_EINVAL, "--wecom-corp '%s' is not ID:SECRET",
					  o->wecom_corp.v[i]);
	return 0;
}

static bool match(struct hm_str method, struct hm_str path)
{
	return hm_str_is(path, "/cgi-bin/message/send") || hm_str_is(path, "/cgi-bin/gettoken");
}

static bool is_bad(struct hm_str user)
{
	return hm_str_starts(user, HM_STR("bad")) && !options->no_special;
}

static bool is_unlicensed(struct hm_str user)
{
	return hm_str_starts(user, HM_STR("unlicensed")) && !options->no_special;
}

static void ids(struct sink_req *r, struct sink_worker *w, struct sink_ids *list)
{
	struct hm_str body = req_body(r), rest, user;

	if (!hm_str_is(req_path(r), "/cgi-bin/message/send") || !scan_valid(body))
		return;
	rest = scan_text(scan_get(body, "touser"), &w->scratch);
	r->target = rest;
	while (rest.len && hm_str_split(&rest, '|', &user))
		if (user.len && !sink_ids_add(list, user, is_bad(user) || is_unlicensed(user)))
			break;
}

static const char *errmsg(int64_t code)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)code);
	for (size_t i = 0; i < hm_countof(special); i++)
		if (strcmp(special[i].name, text) == 0)
			return special[i].detail;
	return "special answer";
}

static void answer(struct sink_req *r, int64_t code, const char *msg)
{
	hm_buf_reset(&r->out);
	hm_buf_printf(&r->out, "{\"errcode\":%lld,\"errmsg\":\"%s\"}", (long long)code,
		      msg ? msg : errmsg(code));
	reply_out(r, 200, TYPE_JSON);
}

static bool corp_known(struct hm_str id, struct hm_str secret)
{
	if (options->wecom_corp.n == 0)
		return true;
	for (size_t i = 0; i < options->wecom_corp.n; i++) {
		const char *v = options->wecom_corp.v[i], *colon = strchr(v, ':');

		if (hm_str_eq(id, hm_str_n(v, (size_t)(colon - v))) && hm_str_is(secret, colon + 1))
			return true;
	}
	return false;
}

static void handle_token(struct sink_req *r, struct sink_worker *w)
{
	struct hm_str id = req_query(r, "corpid", &w->scratch),
		      secret = req_query(r, "corpsecret", &w->scratch);
	int64_t ttl = w->knobs->p[r->profile].token_ttl_s;
	char token[TOKEN_MAX], key[256];
	int n;

	if (id.len == 0) {
		answer(r, 41002, "corpid missing");
	} else if (secret.len == 0) {
		answer(r, 41004, "corpsecret missing");
	} else if (is_bad(id)) {
		answer(r, 40013, "invalid corpid");
	} else if (is_bad(secret) || !corp_known(id, secret)) {
		answer(r, 40001, "invalid credential");
	} else {
		n = snprintf(key, sizeof(key), "%.*s:%.*s", HM_STRF(id), HM_STRF(secret));
		ttl = tokens_issue(w->sink->tokens, r->profile,
				   hm_str_n(key, hm_min((size_t)n, sizeof(key) - 1)), true, "wecom-",
				   ttl ? ttl : 7200, w->now_ms, token);
		hm_buf_printf(&r->out,
			      "{\"errcode\":0,\"errmsg\":\"ok\",\"access_token\":\"%s\",\"expires_in\":%lld}",
			      token, (long long)ttl);
		reply_out(r, 200, TYPE_JSON);
	}
}

/* 0 or an errcode. */
static int64_t check_token(struct sink_req *r, struct sink_worker *w)
{
	struct hm_str t = req_query(r, "access_token", &w->scratch);
	struct token_cache *c = w->profile_data[r->profile];

	if (!c && !(c = w->profile_data[r->profile] = calloc(1, sizeof(*c))))
		return -1;
	if (t.len == 0)
		return 41001;
	switch (tokens_check(w->sink->tokens, c, r->profile, t, w->now_ms)) {
	case TOKEN_OK: return 0;
	case TOKEN_EXPIRED: return 42001;
	case TOKEN_UNKNOWN: break;
	}
	return 40014;
}

static int64_t check_content(struct hm_str body, struct hm_str type)
{
	char key[32];
	struct hm_str part, content;

	snprintf(key, sizeof(key), "%.*s", HM_STRF(type));
	part = scan_get(body, key);
	if (scan_type(part) != '{')
		return 44004;
	if (!hm_str_is(type, "text") && !hm_str_is(type, "markdown"))
		return 0;
	content = scan_get(part, "content");
	return scan_type(content) == '"' && content.len > 2 ? 0 : 44004;
}

/* 0 or an errcode. */
static int64_t check_message(struct hm_str body, const struct sink_ids *list)
{
	struct hm_str type = scan_get(body, "msgtype");
	int64_t agent;
	size_t i;

	if (!scan_i64(scan_get(body, "agentid"), &agent) || agent <= 0)
		return 40056;
	if (agent >= AGENT_BASE && !options->no_special)
		return agent - AGENT_BASE;
	if (list->n == 0 && scan_get(body, "toparty").len <= 2 && scan_get(body, "totag").len <= 2)
		return 82001;
	if (list->n > MAX_USERS)
		return 40032;
	if (scan_type(type) != '"')
		return 40008;
	type = hm_str_n(type.p + 1, type.len - 2);
	for (i = 0; i < hm_countof(msgtypes); i++)
		if (hm_str_is(type, msgtypes[i]))
			return check_content(body, type);
	return 40008;
}

/* err-<code> among the recipients. */
static int64_t special_user(const struct sink_ids *list)
{
	int64_t code;

	for (size_t i = 0; !options->no_special && i < list->n; i++)
		if (hm_str_starts(list->v[i].id, HM_STR("err-")) &&
		    hm_str_i64(hm_str_n(list->v[i].id.p + 4, list->v[i].id.len - 4), &code))
			return code;
	return 0;
}

/* Ids come back lower-cased, joined by '|'. */
static void put_users(struct hm_buf *out, const struct sink_ids *list, bool (*wanted)(struct hm_str))
{
	bool first = true;

	for (size_t i = 0; i < list->n; i++) {
		size_t at;

		if (!list->v[i].refused || !wanted(list->v[i].id))
			continue;
		if (!first)
			hm_buf_putc(out, '|');
		first = false;
		at = out->len;
		hm_buf_json(out, list->v[i].id);
		for (; !out->err && at < out->len; at++)
			if (out->p[at] >= 'A' && out->p[at] <= 'Z')
				out->p[at] = (char)(out->p[at] | 0x20);
	}
}

static void send_message(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
			 struct sink_ids *list)
{
	struct hm_str body = req_body(r);
	int64_t code = check_token(r, w);
	size_t good = 0;

	if (code == 0)
		code = !scan_valid(body) || scan_type(body) != '{' ? 47001 : check_message(body, list);
	if (code == 47001) {
		answer(r, 47001, "data format error");
		return;
	}
	if (code == 0 && sp)
		code = strtoll(sp->name, NULL, 10);
	if (code == 0)
		code = special_user(list);
	for (size_t i = 0; i < list->n; i++)
		good += !list->v[i].refused;
	if (code == 0 && list->n && good == 0)
		code = 81013;
	if (code) {
		answer(r, code, NULL);
		return;
	}
	hm_buf_lit(&r->out, "{\"errcode\":0,\"errmsg\":\"ok\",\"invaliduser\":\"");
	put_users(&r->out, list, is_bad);
	hm_buf_lit(&r->out, "\",\"invalidparty\":\"\",\"invalidtag\":\"\",\"unlicenseduser\":\"");
	put_users(&r->out, list, is_unlicensed);
	hm_buf_printf(&r->out, "\",\"msgid\":\"%016llx%016llx\"}", (unsigned long long)sink_rand(w),
		      (unsigned long long)sink_rand(w));
	reply_out(r, 200, TYPE_JSON);
	r->reply.accepted = true;
}

static void handle(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
		   struct sink_ids *list)
{
	if (hm_str_is(req_path(r), "/cgi-bin/gettoken"))
		handle_token(r, w);
	else
		send_message(r, w, sp, list);
}

/* WeCom says almost everything with 200 and an errcode; a gateway in front of it may say 5xx. */
static void error(struct sink_req *r, int status)
{
	answer(r, status == 429 ? 45009 : -1, NULL);
	r->reply.status = status;
}

const struct sink_profile sink_wecom = {
	.name = "wecom",
	.what = "WeCom: GET /cgi-bin/gettoken, POST /cgi-bin/message/send; ids = user ids of touser",
	.target = "touser",
	.init = init,
	.match = match,
	.ids = ids,
	.handle = handle,
	.error = error,
	.special_lead = "err-",
	.special = special,
	.n_special = hm_countof(special),
};
