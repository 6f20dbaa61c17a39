/*
 * profile_fcm.c - Firebase Cloud Messaging, HTTP v1
 *
 *   POST /token                               OAuth 2 JWT bearer grant (RFC 7523)
 *   POST /v1/projects/<id>/messages:send      one message
 *
 * The id of a message is data.hermod_id, or else header x-hermod-id.
 * Source: firebase.google.com "Migrate to HTTP v1", "FCM error codes".
 */
#include <stdlib.h>

#include "jwt.h"
#include "scan.h"
#include "tokens.h"
#include "worker.h"

#define GRANT	  "urn:ietf:params:oauth:grant-type:jwt-bearer"
#define SCOPE	  "https://www.googleapis.com/auth/firebase.messaging"
#define MAX_BYTES 4096
#define FCM_ERROR "type.googleapis.com/google.firebase.fcm.v1.FcmError"

/* detail = errorCode of the FcmError; "" = none; status text in `name` or its own below */
static const struct sink_special special[] = {
	{"sink-UNREGISTERED", "UNREGISTERED", 404, "UNREGISTERED"},
	{"sink-INVALID_TOKEN", "INVALID_TOKEN", 400, "INVALID_ARGUMENT"},
	{"sink-INVALID_ARGUMENT", "INVALID_ARGUMENT", 400, ""},
	{"sink-UNAUTHENTICATED", "UNAUTHENTICATED", 401, ""},
	{"sink-THIRD_PARTY_AUTH_ERROR", "THIRD_PARTY_AUTH_ERROR", 401, "THIRD_PARTY_AUTH_ERROR"},
	{"sink-SENDER_ID_MISMATCH", "SENDER_ID_MISMATCH", 403, "SENDER_ID_MISMATCH"},
	{"sink-PERMISSION_DENIED", "PERMISSION_DENIED", 403, ""},
	{"sink-NOT_FOUND", "NOT_FOUND", 404, ""},
	{"sink-QUOTA_EXCEEDED", "QUOTA_EXCEEDED", 429, "QUOTA_EXCEEDED"},
	{"sink-RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", 429, ""},
	{"sink-INTERNAL", "INTERNAL", 500, "INTERNAL"},
	{"sink-UNAVAILABLE", "UNAVAILABLE", 503, "UNAVAILABLE"},
};

static const struct {
	int code;
	const char *status, *message;
} statuses[] = {
	{400, "INVALID_ARGUMENT", "Request contains an invalid argument."},
	{401, "UNAUTHENTICATED",
	 "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
	 "other valid authentication credential."},
	{403, "PERMISSION_DENIED", "Permission denied."},
	{404, "NOT_FOUND", "Requested entity was not found."},
	{413, "INVALID_ARGUMENT", "Request payload size exceeds the limit."},
	{429, "RESOURCE_EXHAUSTED", "Quota exceeded."},
	{500, "INTERNAL", "Internal error encountered."},
	{503, "UNAVAILABLE", "The service is currently unavailable."},
};

static EVP_PKEY *key;
static const struct sink_options *options;

static int init(const struct sink_options *o, struct hm_err *e)
{
	options = o;
	return o->fcm_key ? key_load(o->fcm_key, "RSA", &key, e) : 0;
}

static void fini(void)
{
	EVP_PKEY_free(key);
	key = NULL;
}

static bool is_token_path(struct hm_str path)
{
	return hm_str_is(path, "/token") || hm_str_is(path, "/oauth2/token");
}

static bool match(struct hm_str method, struct hm_str path)
{
	return hm_str_starts(path, HM_STR("/v1/projects/")) || is_token_path(path);
}

static const char *const targets[] = {"token", "topic", "condition", "fid"};

static void ids(struct sink_req *r, struct sink_worker *w, struct sink_ids *list)
{
	struct hm_str body = req_body(r), msg, id, t = HM_STR_NULL;

	if (is_token_path(req_path(r)))
		return;
	if (scan_valid(body)) {
		msg = scan_get(body, "message");
		for (size_t i = 0; !t.p && i < hm_countof(targets); i++)
			t = scan_text(scan_get(msg, targets[i]), &w->scratch);
		if (t.p)
			r->target = t;
		id = scan_text(scan_get(scan_get(msg, "data"), "hermod_id"), &w->scratch);
		if (id.len) {
			sink_ids_add(list, id, false);
			return;
		}
	}
	id = req_header(r, "x-hermod-id");
	if (id.len)
		sink_ids_add(list, id, false);
}

/* google.rpc.Status; detail: FcmError code, or with `field` a BadRequest. */
static void refuse(struct sink_req *r, int code, const char *status, const char *message, const char *fcm,
		   const char *field)
{
	struct hm_buf *b = &r->out;

	hm_buf_reset(b);
	hm_buf_printf(b, "{\"error\":{\"code\":%d,\"message\":\"%s\",\"status\":\"%s\"", code, message,
		      status);
	if (fcm && *fcm)
		hm_buf_printf(b, ",\"details\":[{\"@type\":\"" FCM_ERROR "\",\"errorCode\":\"%s\"}]", fcm);
	else if (field)
		hm_buf_printf(b,
			      ",\"details\":[{\"@type\":\"type.googleapis.com/"
			      "google.rpc.BadRequest\",\"fieldViolations\":"
			      "[{\"field\":\"%s\",\"description\":\"%s\"}]}]",
			      field, message);
	hm_buf_lit(b, "}}");
	reply_out(r, code, TYPE_JSON);
}

static void refuse_code(struct sink_req *r, int code, const char *fcm)
{
	for (size_t i = 0; i < hm_countof(statuses); i++)
		if (statuses[i].code == code) {
			refuse(r, code, statuses[i].status, statuses[i].message, fcm, NULL);
			return;
		}
}

static void by_special(struct sink_req *r, const struct sink_special *sp)
{
	const char *status = sp->name;

	if (strcmp(sp->name, "INVALID_TOKEN") == 0) {
		refuse(r, 400, "INVALID_ARGUMENT",
		       "The registration token is not a valid FCM registration token", sp->detail, NULL);
		return;
	}
	if (strcmp(sp->name, "INVALID_ARGUMENT") == 0) {
		refuse(r, 400, "INVALID_ARGUMENT", "Invalid value at 'message.android.ttl'", NULL,
		       "message.android.ttl");
		return;
	}
	for (size_t i = 0; i < hm_countof(statuses); i++)
		if (statuses[i].code == sp->status && strcmp(sp->detail, "") != 0)
			status = statuses[i].status; /* the FcmError says more than the status */
	for (size_t i = 0; i < hm_countof(statuses); i++)
		if (statuses[i].code == sp->status)
			refuse(r, sp->status, status, statuses[i].message, sp->detail, NULL);
	if (sp->status == 429 || sp->status == 503)
		reply_header(r, HM_STR("retry-after"), HM_STR("1"));
}

static void oauth_error(struct sink_req *r, const char *code, const char *text)
{
	hm_buf_reset(&r->out);
	hm_buf_printf(&r->out, "{\"error\":\"%s\",\"error_description\":\"%s\"}", code, text);
	reply_out(r, 400, TYPE_JSON);
}

/* NULL or what is wrong with the assertion's claims. */
static const char *check_claims(const struct jwt *j, struct sink_worker *w)
{
	int64_t now = (int64_t)(w->now_ms / 1000);
	struct hm_str iss = scan_text(scan_get(j->claims, "iss"), &w->scratch);
	struct hm_str aud = scan_text(scan_get(j->claims, "aud"), &w->scratch);
	struct hm_str scope = scan_text(scan_get(j->claims, "scope"), &w->scratch);

	if (iss.len == 0)
		return "Invalid JWT: iss is missing.";
	if (hm_str_find(scope, HM_STR(SCOPE)) < 0 &&
	    hm_str_find(scope, HM_STR("https://www.googleapis.com/auth/cloud-platform")) < 0)
		return "Invalid JWT: scope must hold " SCOPE ".";
	if (aud.len == 0 || !hm_str_ends(aud, HM_STR("/token")))
		return "Invalid JWT: aud must be the token URL.";
	if (j->iat == 0 || j->exp == 0 || j->exp <= now || j->iat > now + 300 || j->exp - j->iat > 3600)
		return "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable "
		       "timeframe. Check your iat "
		       "and exp values in the JWT claim.";
	return NULL;
}

static void handle_token(struct sink_req *r, struct sink_worker *w)
{
	struct hm_str body = req_body(r), assertion;
	struct hm_str grant = form_get(body, "grant_type", &w->scratch);
	int64_t ttl = w->knobs->p[r->profile].token_ttl_s;
	char token[TOKEN_MAX];
	struct jwt j;
	const char *bad;

	if (!hm_str_is(req_method(r), "POST")) {
		oauth_error(r, "invalid_request", "Use POST.");
		return;
	}
	if (!hm_str_is(grant, GRANT)) {
		oauth_error(r, "unsupported_grant_type", "Invalid grant_type");
		return;
	}
	assertion = form_get(body, "assertion", &w->scratch);
	switch (jwt_check(assertion, "RS256", key, &w->scratch, &j)) {
	case JWT_OK: break;
	case JWT_MALFORMED:
		oauth_error(r, "invalid_grant", "Invalid JWT: the assertion is malformed.");
		return;
	case JWT_WRONG_ALG: oauth_error(r, "invalid_grant", "Invalid JWT: alg must be RS256."); return;
	case JWT_BAD_SIGNATURE: oauth_error(r, "invalid_grant", "Invalid JWT Signature."); return;
	}
	bad = check_claims(&j, w);
	if (bad) {
		oauth_error(r, "invalid_grant", bad);
		return;
	}
	ttl = tokens_issue(w->sink->tokens, r->profile, j.claims, false, "ya29.sink-", ttl ? ttl : 3599,
			   w->now_ms, token);
	hm_buf_printf(&r->out, "{\"access_token\":\"%s\",\"expires_in\":%lld,\"token_type\":\"Bearer\"}",
		      token, (long long)ttl);
	reply_out(r, 200, TYPE_JSON);
}

static bool authorized(struct sink_req *r, struct sink_worker *w)
{
	struct hm_str a = req_header(r, "authorization");
	struct token_cache *c = w->profile_data[r->profile];

	if (!c && !(c = w->profile_data[r->profile] = calloc(1, sizeof(*c))))
		return false;
	return a.len > 7 && hm_str_ieq(hm_str_n(a.p, 7), HM_STR("bearer ")) &&
	       tokens_check(w->sink->tokens, c, r->profile, hm_str_n(a.p + 7, a.len - 7), w->now_ms) ==
		       TOKEN_OK;
}

/* All values of data must be strings, and some keys are taken. */
static const char *check_data(struct hm_str data, size_t *bytes)
{
	struct scan_it it;
	struct hm_str k, v;

	if (!data.p)
		return NULL;
	if (!scan_first(&it, data) || !it.object)
		return "message.data";
	while (scan_next(&it, &k, &v)) {
		if (scan_type(v) != '"' || hm_str_is(k, "from") || hm_str_is(k, "message_type") ||
		    hm_str_starts(k, HM_STR("google")) || hm_str_starts(k, HM_STR("gcm")))
			return "message.data";
		*bytes += k.len + v.len - 2;
	}
	return NULL;
}

static bool ttl_ok(struct hm_str raw)
{
	struct hm_str s;
	uint64_t n;

	if (!raw.p)
		return true;
	if (scan_type(raw) != '"' || raw.len < 4 || raw.p[raw.len - 2] != 's')
		return false;
	s = hm_str_n(raw.p + 1, raw.len - 3);
	return hm_str_u64(s, &n) ? n <= 2419200 : hm_str_chr(s, '.') > 0;
}

/* NULL or the field that is wrong. */
static const char *check_message(struct hm_str body)
{
	struct hm_str msg = scan_get(body, "message"), n;
	const char *bad;
	size_t count = 0, bytes = 0;

	if (scan_type(msg) != '{')
		return "message";
	for (size_t i = 0; i < hm_countof(targets); i++) {
		struct hm_str t = scan_get(msg, targets[i]);

		if (!t.p)
			continue;
		if (scan_type(t) != '"' || t.len == 2)
			return "message";
		count++;
	}
	if (count != 1)
		return "message";
	n = scan_get(msg, "notification");
	if (n.p && scan_type(n) != '{')
		return "message.notification";
	bad = check_data(scan_get(msg, "data"), &bytes);
	if (bad)
		return bad;
	if (!ttl_ok(scan_path(msg, "android.ttl")))
		return "message.android.ttl";
	return bytes + n.len > MAX_BYTES ? "message" : NULL;
}

static void send_message(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
			 struct hm_str project)
{
	struct hm_str body = req_body(r);
	const char *bad;

	if (!authorized(r, w)) {
		refuse_code(r, 401, NULL);
	} else if (options->fcm_project && !hm_str_is(project, options->fcm_project)) {
		refuse_code(r, 404, NULL);
	} else if (!scan_valid(body) || scan_type(body) != '{') {
		refuse(r, 400, "INVALID_ARGUMENT", "Invalid JSON payload received.", NULL, NULL);
	} else if ((bad = check_message(body))) {
		refuse(r, 400, "INVALID_ARGUMENT", "Invalid value in the message.", NULL, bad);
	} else if (sp) {
		by_special(r, sp);
	} else {
		hm_buf_printf(&r->out, "{\"name\":\"projects/%.*s/messages/0:%016llx%%%08llx\"}",
			      HM_STRF(project), (unsigned long long)sink_rand(w),
			      (unsigned long long)(sink_rand(w) & 0xffffffff));
		reply_out(r, 200, TYPE_JSON);
		r->reply.accepted = scan_type(scan_get(body, "validate_only")) != 't';
	}
}

static void handle(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
		   struct sink_ids *list)
{
	struct hm_str path = req_path(r), rest;
	ptrdiff_t slash;

	if (is_token_path(path)) {
		handle_token(r, w);
		return;
	}
	rest = hm_str_n(path.p + 13, path.len - 13); /* after "/v1/projects/" */
	slash = hm_str_chr(rest, '/');
	if (slash <= 0 || !hm_str_is(hm_str_n(rest.p + slash, rest.len - (size_t)slash), "/messages:send") ||
	    !hm_str_is(req_method(r), "POST")) {
		refuse_code(r, 404, NULL);
		return;
	}
	send_message(r, w, sp, hm_str_n(rest.p, (size_t)slash));
}

static void error(struct sink_req *r, int status)
{
	const char *fcm = status == 429	  ? "QUOTA_EXCEEDED"
			  : status == 503 ? "UNAVAILABLE"
			  : status == 500 ? "INTERNAL"
					  : NULL;

	refuse_code(r, status, fcm);
}

const struct sink_profile sink_fcm = {
	.name = "fcm",
	.what = "Firebase: POST /token, POST /v1/projects/<id>/messages:send; id = message.data.hermod_id",
	.target = "registration token, topic, condition or fid",
	.init = init,
	.fini = fini,
	.match = match,
	.ids = ids,
	.handle = handle,
	.error = error,
	.special_lead = "sink-",
	.special = special,
	.n_special = hm_countof(special),
};
