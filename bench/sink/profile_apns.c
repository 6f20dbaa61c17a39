/*
 * profile_apns.c - Apple Push Notification service: POST /3/device/<token>
 *
 * Checks in this order: method, path, token, provider token, topic, the other
 * headers, payload. A payload that is not a JSON object answers 400 PayloadEmpty:
 * Apple documents no reason of its own for it.
 * Source: developer.apple.com "Sending notification requests to APNs" and "Handling notification responses".
 */
#include <stdlib.h>

#include "jwt.h"
#include "scan.h"
#include "worker.h"

#define PREFIX	     "/3/device/"
#define MAX_BODY     4096
#define MAX_VOIP     5120
#define TOKEN_WINDOW 3600 /* seconds a provider token may be old */
#define TOKEN_SKEW   300  /* and how far ahead its clock may run */

/* "dead" + 4 digits: status and row. Long enough that no random token hits one. */
static const struct sink_special special[] = {
	{"dead0000", "Unregistered", 410, NULL},
	{"deaddead", "Unregistered", 410, NULL},
	{"deadbeef", "Unregistered", 410, NULL},
	{"dead4100", "Unregistered", 410, NULL},
	{"dead4101", "ExpiredToken", 410, NULL},
	{"dead4000", "BadDeviceToken", 400, NULL},
	{"dead4001", "DeviceTokenNotForTopic", 400, NULL},
	{"dead4002", "BadCollapseId", 400, NULL},
	{"dead4003", "BadExpirationDate", 400, NULL},
	{"dead4004", "BadMessageId", 400, NULL},
	{"dead4005", "BadPriority", 400, NULL},
	{"dead4006", "BadTopic", 400, NULL},
	{"dead4007", "DuplicateHeaders", 400, NULL},
	{"dead4008", "IdleTimeout", 400, NULL},
	{"dead4009", "InvalidPushType", 400, NULL},
	{"dead4010", "MissingDeviceToken", 400, NULL},
	{"dead4011", "MissingTopic", 400, NULL},
	{"dead4012", "PayloadEmpty", 400, NULL},
	{"dead4013", "TopicDisallowed", 400, NULL},
	{"dead4030", "ExpiredProviderToken", 403, NULL},
	{"dead4031", "InvalidProviderToken", 403, NULL},
	{"dead4032", "MissingProviderToken", 403, NULL},
	{"dead4033", "BadCertificate", 403, NULL},
	{"dead4034", "BadCertificateEnvironment", 403, NULL},
	{"dead4035", "Forbidden", 403, NULL},
	{"dead4036", "UnrelatedKeyIdInToken", 403, NULL},
	{"dead4037", "BadEnvironmentKeyIdInToken", 403, NULL},
	{"dead4038", "BadEnvironmentKeyInToken", 403, NULL},
	{"dead4040", "BadPath", 404, NULL},
	{"dead4050", "MethodNotAllowed", 405, NULL},
	{"dead4130", "PayloadTooLarge", 413, NULL},
	{"dead4290", "TooManyRequests", 429, NULL},
	{"dead4291", "TooManyProviderTokenUpdates", 429, NULL},
	{"dead5000", "InternalServerError", 500, NULL},
	{"dead5030", "ServiceUnavailable", 503, NULL},
	{"dead5031", "Shutdown", 503, NULL},
};

static const struct {
	const char *name, *suffix; /* the topic ends with it */
} push_types[] = {
	{"alert", ""},
	{"background", ""},
	{"location", ".location-query"},
	{"voip", ".voip"},
	{"complication", ".complication"},
	{"fileprovider", ".pushkit.fileprovider"},
	{"mdm", ""},
	{"liveactivity", ".push-type.liveactivity"},
	{"pushtotalk", ".voip-ptt"},
	{"widgets", ""},
	{"controls", ""},
};

static EVP_PKEY *key;
static const struct sink_options *options;

/* Verified tokens, per worker: a sender uses the same one for up to an hour. */
#define CACHE 8
struct cache {
	struct {
		char *text;
		size_t len;
		int64_t iat;
		bool good;
	} v[CACHE];
	size_t next;
	char texts[CACHE][2048];
};

static int init(const struct sink_options *o, struct hm_err *e)
{
	options = o;
	return o->apns_key ? key_load(o->apns_key, "EC", &key, e) : 0;
}

static void fini(void)
{
	EVP_PKEY_free(key);
	key = NULL;
}

static bool match(struct hm_str method, struct hm_str path)
{
	return hm_str_starts(path, HM_STR("/3/device")) && (path.len == 9 || path.p[9] == '/');
}

static void ids(struct sink_req *r, struct sink_worker *w, struct sink_ids *list)
{
	struct hm_str path = req_path(r), id = req_header(r, "apns-id");

	if (path.len > sizeof(PREFIX) - 1)
		r->target = hm_str_n(path.p + sizeof(PREFIX) - 1, path.len - (sizeof(PREFIX) - 1));
	if (id.len)
		sink_ids_add(list, id, false);
}

static void refuse(struct sink_req *r, int status, const char *reason, uint64_t timestamp)
{
	hm_buf_reset(&r->out);
	if (timestamp)
		hm_buf_printf(&r->out, "{\"reason\":\"%s\",\"timestamp\":%llu}", reason,
			      (unsigned long long)timestamp);
	else
		hm_buf_printf(&r->out, "{\"reason\":\"%s\"}", reason);
	reply_out(r, status, HM_STR("application/json"));
}

static const unsigned char not_hex[256] = {
	[0 ... '0' - 1] = 1,
	['9' + 1 ... 'A' - 1] = 1,
	['F' + 1 ... 'a' - 1] = 1,
	['f' + 1 ... 255] = 1,
};

static bool all_hex(const char *p, size_t n)
{
	unsigned bad = 0;

	for (size_t i = 0; i < n; i++)
		bad |= not_hex[(unsigned char)p[i]];
	return bad == 0;
}

static bool token_form(struct hm_str t)
{
	return t.len >= 64 && t.len <= 200 && t.len % 2 == 0 && all_hex(t.p, t.len);
}

static bool is_uuid(struct hm_str s)
{
	return s.len == 36 && s.p[8] == '-' && s.p[13] == '-' && s.p[18] == '-' && s.p[23] == '-' &&
	       all_hex(s.p, 8) && all_hex(s.p + 9, 4) && all_hex(s.p + 14, 4) && all_hex(s.p + 19, 4) &&
	       all_hex(s.p + 24, 12);
}

/* Structure and signature, cached; the age is looked at every time. */
static bool jwt_good(struct sink_worker *w, unsigned profile, struct hm_str token, int64_t *iat_r)
{
	struct cache *c = w->profile_data[profile];
	struct jwt j;
	bool good;

	if (!c && !(c = w->profile_data[profile] = calloc(1, sizeof(*c))))
		return false;
	for (size_t i = 0; i < CACHE; i++)
		if (c->v[i].len == token.len && c->v[i].text &&
		    memcmp(c->v[i].text, token.p, token.len) == 0) {
			*iat_r = c->v[i].iat;
			return c->v[i].good;
		}
	good = jwt_check(token, "ES256", key, &w->scratch, &j) == JWT_OK && j.iat > 0 &&
	       scan_type(scan_get(j.claims, "iss")) == '"' && scan_type(scan_get(j.header, "kid")) == '"';
	*iat_r = j.iat;
	if (token.len <= sizeof(c->texts[0])) {
		size_t i = c->next++ % CACHE;

		memcpy(c->texts[i], token.p, token.len);
		c->v[i].text = c->texts[i];
		c->v[i].len = token.len;
		c->v[i].iat = j.iat;
		c->v[i].good = good;
	}
	return good;
}

/* NULL or the reason of a 403. */
static const char *check_auth(struct sink_req *r, struct sink_worker *w, struct hm_str auth)
{
	int64_t iat = 0, now = (int64_t)(w->now_ms / 1000);

	if (auth.len < 8 || !hm_str_ieq(hm_str_n(auth.p, 7), HM_STR("bearer ")))
		return "MissingProviderToken";
	if (!jwt_good(w, r->profile, hm_str_trim(hm_str_n(auth.p + 7, auth.len - 7)), &iat))
		return "InvalidProviderToken";
	if (iat > now + TOKEN_SKEW)
		return "InvalidProviderToken";
	return now - iat > TOKEN_WINDOW ? "ExpiredProviderToken" : NULL;
}

struct fields { /* one walk over the headers */
	struct hm_str auth, topic, type, priority, expiration, collapse, id;
	bool duplicate, id_good;
};

static struct hm_str *field_for(struct fields *f, struct hm_str name)
{
	switch (name.len) {
	case 7: return hm_str_is(name, "apns-id") ? &f->id : NULL;
	case 10: return hm_str_is(name, "apns-topic") ? &f->topic : NULL;
	case 13:
		return hm_str_is(name, "authorization")	  ? &f->auth
		       : hm_str_is(name, "apns-priority") ? &f->priority
							  : NULL;
	case 14: return hm_str_is(name, "apns-push-type") ? &f->type : NULL;
	case 15: return hm_str_is(name, "apns-expiration") ? &f->expiration : NULL;
	case 16: return hm_str_is(name, "apns-collapse-id") ? &f->collapse : NULL;
	default: return NULL;
	}
}

static void collect(const struct sink_req *r, struct fields *f)
{
	memset(f, 0, sizeof(*f));
	for (size_t i = 0; i < r->n_headers; i++) {
		struct hm_str *to = field_for(f, req_header_name(r, i));

		if (!to)
			continue;
		f->duplicate |= to->p != NULL;
		*to = req_header_value(r, i);
	}
}

static const char *check_topic(const struct fields *f)
{
	size_t i;

	if (f->topic.len == 0)
		return "MissingTopic";
	for (i = 0; f->type.len && i < hm_countof(push_types); i++)
		if (hm_str_is(f->type, push_types[i].name))
			break;
	if (f->type.len && i == hm_countof(push_types))
		return "InvalidPushType";
	if (f->type.len && !hm_str_ends(f->topic, hm_str_c(push_types[i].suffix)))
		return "BadTopic";
	for (i = 0; i < options->apns_topic.n; i++)
		if (hm_str_is(f->topic, options->apns_topic.v[i]))
			return NULL;
	return options->apns_topic.n ? "TopicDisallowed" : NULL;
}

/* NULL or the reason of a 400. */
static const char *check_headers(const struct fields *f)
{
	uint64_t n;
	const char *bad = check_topic(f);

	if (bad)
		return bad;
	if (f->duplicate)
		return "DuplicateHeaders";
	if (f->id.p && !f->id_good)
		return "BadMessageId";
	if (f->priority.p && !hm_str_is(f->priority, "10") && !hm_str_is(f->priority, "5") &&
	    !hm_str_is(f->priority, "1"))
		return "BadPriority";
	if (hm_str_is(f->type, "background") && (!f->priority.p || hm_str_is(f->priority, "10")))
		return "BadPriority";
	if (f->expiration.p && !hm_str_u64(f->expiration, &n))
		return "BadExpirationDate";
	return f->collapse.len > 64 ? "BadCollapseId" : NULL;
}

static void put_id(struct sink_req *r, struct sink_worker *w, struct hm_str given)
{
	char text[37];
	uint64_t a, b;

	if (given.len) {
		reply_header(r, HM_STR("apns-id"), given);
		return;
	}
	a = sink_rand(w);
	b = sink_rand(w);
	for (size_t i = 0, bit = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			text[i] = '-';
			continue;
		}
		text[i] = "0123456789abcdef"[(bit < 64 ? a >> bit : b >> (bit - 64)) & 15];
		bit += 4;
	}
	text[14] = '4';
	text[36] = '\0';
	reply_header_copy(r, HM_STR("apns-id"), hm_str_c(text));
}

static void handle(struct sink_req *r, struct sink_worker *w, const struct sink_special *sp,
		   struct sink_ids *list)
{
	struct hm_str body = req_body(r);
	struct fields f;
	const char *bad;

	collect(r, &f);
	f.id_good = is_uuid(f.id);
	put_id(r, w, f.id_good ? f.id : HM_STR_NULL);
	if (!hm_str_is(req_method(r), "POST"))
		refuse(r, 405, "MethodNotAllowed", 0);
	else if (r->target.len == 0)
		refuse(r, 400, "MissingDeviceToken", 0);
	else if (memchr(r->target.p, '/', r->target.len))
		refuse(r, 404, "BadPath", 0);
	else if (!token_form(r->target))
		refuse(r, 400, "BadDeviceToken", 0);
	else if ((bad = check_auth(r, w, f.auth)))
		refuse(r, 403, bad, 0);
	else if ((bad = check_headers(&f)))
		refuse(r, 400, bad, 0);
	else if (body.len > (hm_str_is(f.type, "voip") ? MAX_VOIP : MAX_BODY))
		refuse(r, 413, "PayloadTooLarge", 0);
	else if (body.len == 0 || !scan_valid(body) || scan_type(body) != '{')
		refuse(r, 400, "PayloadEmpty", 0);
	else if (sp)
		refuse(r, sp->status, sp->name, sp->status == 410 ? w->now_ms : 0);
	else
		r->reply.accepted = true; /* 200 without a body */
}

static void error(struct sink_req *r, int status)
{
	static const struct {
		int status;
		const char *reason;
	} rows[] = {{400, "BadDeviceToken"},   {403, "InvalidProviderToken"}, {404, "BadPath"},
		    {405, "MethodNotAllowed"}, {410, "Unregistered"},	      {413, "PayloadTooLarge"},
		    {429, "TooManyRequests"},  {500, "InternalServerError"},  {503, "ServiceUnavailable"}};

	for (size_t i = 0; i < hm_countof(rows); i++)
		if (rows[i].status == status)
			refuse(r, status, rows[i].reason,
			       status == 410 ? r->conn ? hm_clock_wall_ms() : 0 : 0);
}

const struct sink_profile sink_apns = {
	.name = "apns",
	.what = "Apple push: POST /3/device/<token>, ES256 provider token; id = apns-id",
	.target = "device token",
	.init = init,
	.fini = fini,
	.match = match,
	.ids = ids,
	.handle = handle,
	.error = error,
	.special_lead = "dead",
	.special = special,
	.n_special = hm_countof(special),
};
