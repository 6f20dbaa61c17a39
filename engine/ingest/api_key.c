/*
 * api_key.c - API keys: text, hash, record
 */
#include "ingest/api_key.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include "base/json.h"

static const char base32[] = "0123456789abcdefghjkmnpqrstvwxyz"; /* Crockford's alphabet: no i l o u */
static const struct {
	const char *name;
	uint8_t bit;
} scope_names[] = {{"send", 1}, {"read", 2}, {"templates", 8}, {"suppressions", 16}, {"admin", 4}};

int hm_api_key_make(struct hm_api_key *k, char text[HM_API_KEY_TEXT + 1], struct hm_err *e)
{
	uint8_t id[HM_API_KEY_ID], secret[32];
	struct hm_buf b;

	if (RAND_bytes(id, sizeof(id)) != 1 || RAND_priv_bytes(secret, sizeof(secret)) != 1)
		return hm_err_set(e, HM_EIO, "the system gives no random numbers");
	for (size_t i = 0; i < HM_API_KEY_ID; i++)
		k->id[i] = base32[id[i] & 31];
	k->id[HM_API_KEY_ID] = '\0';
	hm_buf_init(&b, 128);
	hm_buf_lit(&b, "hk_");
	hm_buf_put(&b, k->id, HM_API_KEY_ID);
	hm_buf_putc(&b, '_');
	hm_buf_base64url(&b, secret, sizeof(secret));
	OPENSSL_cleanse(secret, sizeof(secret));
	if (b.err) {
		hm_buf_fini(&b);
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	}
	hm_assert(b.len == HM_API_KEY_TEXT);
	memcpy(text, b.p, HM_API_KEY_TEXT);
	text[HM_API_KEY_TEXT] = '\0';
	OPENSSL_cleanse(b.p, b.len);
	hm_buf_fini(&b);
	SHA256((const uint8_t *)text + 4 + HM_API_KEY_ID, 43, k->hash);
	return 0;
}

bool hm_api_key_id_valid(struct hm_str id)
{
	if (id.len != HM_API_KEY_ID)
		return false;
	for (size_t i = 0; i < id.len; i++)
		if (id.p[i] == '\0' || !strchr(base32, id.p[i]))
			return false;
	return true;
}

bool hm_api_key_parse(struct hm_str text, char id_r[HM_API_KEY_ID + 1], uint8_t hash_r[32])
{
	struct hm_str id;

	if (text.len != HM_API_KEY_TEXT || memcmp(text.p, "hk_", 3) != 0 || text.p[3 + HM_API_KEY_ID] != '_')
		return false;
	id = hm_str_n(text.p + 3, HM_API_KEY_ID);
	if (!hm_api_key_id_valid(id))
		return false;
	memcpy(id_r, id.p, id.len);
	id_r[id.len] = '\0';
	SHA256((const uint8_t *)text.p + 4 + HM_API_KEY_ID, 43, hash_r);
	return true;
}

int hm_api_key_scopes_parse(struct hm_str text, uint8_t *scopes_r, struct hm_err *e)
{
	struct hm_str part;

	*scopes_r = 0;
	while (hm_str_split(&text, ',', &part)) {
		size_t i = 0;

		part = hm_str_trim(part);
		while (i < hm_countof(scope_names) && !hm_str_is(part, scope_names[i].name))
			i++;
		if (i == hm_countof(scope_names))
			return hm_err_set(
				e, HM_EINVAL,
				"scope \"%.*s\" is unknown: send, read, templates, suppressions or admin",
				(int)hm_min(part.len, (size_t)40), part.p);
		*scopes_r |= scope_names[i].bit;
	}
	if (*scopes_r == 0)
		return hm_err_set(
			e, HM_EINVAL,
			"a key needs at least one scope: send, read, templates, suppressions or admin");
	return 0;
}

void hm_api_key_scopes_put(struct hm_buf *b, uint8_t scopes, const char *sep)
{
	bool first = true;

	for (size_t i = 0; i < hm_countof(scope_names); i++)
		if (scopes & scope_names[i].bit) {
			if (!first)
				hm_buf_puts(b, hm_str_c(sep));
			hm_buf_puts(b, hm_str_c(scope_names[i].name));
			first = false;
		}
}

void hm_api_key_put_record(struct hm_buf *b, const struct hm_api_key *k)
{
	hm_buf_lit(b, "{\"hash\":\"");
	hm_buf_hex(b, k->hash, sizeof(k->hash));
	hm_buf_lit(b, "\",\"name\":\"");
	hm_buf_json(b, hm_str_c(k->name));
	hm_buf_lit(b, "\",\"scopes\":[\"");
	hm_api_key_scopes_put(b, k->scopes, "\",\"");
	hm_buf_printf(b, "\"],\"rate\":%u,\"created\":%llu", k->rate, (unsigned long long)k->created_ms);
	if (k->revoked_ms)
		hm_buf_printf(b, ",\"revoked\":%llu", (unsigned long long)k->revoked_ms);
	hm_buf_putc(b, '}');
}

static int read_fields(const msgpack_object *o, struct hm_api_key *k)
{
	const msgpack_object *scopes = hm_mp_get(o, HM_STR("scopes"));
	struct hm_str s, name = HM_STR("");
	uint64_t rate = 0;
	struct hm_buf raw;
	bool ok;

	if (!hm_mp_str(hm_mp_get(o, HM_STR("hash")), &s) || s.len != 64)
		return HM_EINVAL;
	hm_buf_init(&raw, 64);
	ok = hm_buf_unhex(&raw, s) && raw.len == sizeof(k->hash);
	if (ok)
		memcpy(k->hash, raw.p, sizeof(k->hash));
	hm_buf_fini(&raw);
	if (!ok || !scopes || scopes->type != MSGPACK_OBJECT_ARRAY)
		return HM_EINVAL;
	for (uint32_t i = 0; i < scopes->via.array.size; i++) {
		if (!hm_mp_str(&scopes->via.array.ptr[i], &s))
			return HM_EINVAL;
		for (size_t n = 0; n < hm_countof(scope_names); n++)
			if (hm_str_is(s, scope_names[n].name))
				k->scopes |= scope_names[n].bit;
	}
	(void)hm_mp_str(hm_mp_get(o, HM_STR("name")), &name);
	name.len = hm_utf8_cut(name, HM_API_KEY_NAME);
	if (name.len)
		memcpy(k->name, name.p, name.len);
	(void)hm_mp_u64(hm_mp_get(o, HM_STR("rate")), &rate);
	k->rate = (uint32_t)hm_min(rate, (uint64_t)HM_API_KEY_RATE_MAX);
	(void)hm_mp_u64(hm_mp_get(o, HM_STR("created")), &k->created_ms);
	(void)hm_mp_u64(hm_mp_get(o, HM_STR("revoked")), &k->revoked_ms);
	return 0;
}

int hm_api_key_read_record(struct hm_str id, struct hm_str json, struct hm_api_key *k, struct hm_err *e)
{
	msgpack_object root;
	msgpack_zone zone;
	struct hm_buf mp;
	int rc;

	memset(k, 0, sizeof(*k));
	if (!hm_api_key_id_valid(id))
		return hm_err_set(e, HM_EINVAL, "not the id of an API key");
	memcpy(k->id, id.p, id.len);
	if (!msgpack_zone_init(&zone, 1024))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	hm_buf_init(&mp, 4096);
	rc = hm_json_to_msgpack(json, &mp, e);
	if (rc == 0)
		rc = hm_msgpack_decode(&zone, hm_buf_str(&mp), &root, e);
	if (rc == 0) {
		rc = read_fields(&root, k);
		if (rc)
			hm_err_set(e, rc, "the record of API key %s is damaged", k->id);
	}
	hm_buf_fini(&mp);
	msgpack_zone_destroy(&zone);
	return rc;
}
