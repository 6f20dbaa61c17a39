/*
 * store.c - templates in Redis: one script changes, small ones read
 */
#include "templates/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/obj.h"
#include "base/ulid.h"
#include "ingest/cancel_mark.h"

#define CALL_MAGIC 0x74736361u
#define KEY_MAX	   (HM_CTL_KEY_MAX + HM_TSTORE_NAME_MAX)

/* -- names --------------------------------------------------------------------------------- */

static bool name_char(uint32_t cp)
{
	if (cp < 0x80)
		return (cp >= '0' && cp <= '9') || (cp >= 'A' && cp <= 'Z') || (cp >= 'a' && cp <= 'z') ||
		       cp == '.' || cp == '_' || cp == '-' || cp == '/';
	/* no C1 controls, odd blanks, line separators, direction marks, private use, non-characters */
	return cp > 0xa0 && !(cp >= 0x2000 && cp <= 0x206f) && cp != 0x3000 && cp != 0xfeff &&
	       !(cp >= 0xe000 && cp <= 0xf8ff) && (cp & 0xfffe) != 0xfffe;
}

int hm_tstore_check_name(struct hm_str name, struct hm_err *e)
{
	hm_err_field(e, "name");
	if (name.len == 0)
		return hm_err_set(e, HM_EINVAL, "name: a template needs a name");
	if (name.len > HM_TSTORE_NAME_MAX)
		return hm_err_set(e, HM_EINVAL, "name: at most %d bytes", HM_TSTORE_NAME_MAX);
	if (!hm_utf8_valid(name))
		return hm_err_set(e, HM_EINVAL, "name: not UTF-8");
	for (size_t i = 0, n; i < name.len; i += n)
		if (!name_char(hm_utf8_decode(hm_str_n(name.p + i, name.len - i), &n)))
			return hm_err_set(
				e, HM_EINVAL,
				"name: \"%.*s\" may have letters, digits, . _ - and / between folders",
				HM_STRF(name));
	for (size_t i = 0; i <= name.len; i++) {
		char before = i ? name.p[i - 1] : '/';

		if (before == '/' && (i == name.len || name.p[i] == '/' || name.p[i] == '.'))
			return hm_err_set(
				e, HM_EINVAL,
				"name: the parts of \"%.*s\" between / must not be empty or begin with a dot",
				HM_STRF(name));
	}
	if (hm_str_ends(name, HM_STR(".test")))
		return hm_err_set(
			e, HM_EINVAL,
			"name: \"%.*s\" would be taken for the fixtures of another template (.test)",
			HM_STRF(name));
	return 0;
}

/* -- keys ---------------------------------------------------------------------------------- */

enum key { K_INDEX, K_NAMES, K_DOCS, K_LOG, K_TOKEN, K_EVENTS, K_COUNT };
struct keys {
	struct hm_str v[K_COUNT];
	char text[K_COUNT][KEY_MAX];
};

static void keys_make(struct keys *k, struct hm_str prefix, struct hm_str name)
{
	static const char *const what[K_COUNT] = {
		[K_INDEX] = "templates",   [K_NAMES] = "templates:names", [K_DOCS] = "template:",
		[K_LOG] = "template-log:", [K_TOKEN] = "templates:token", [K_EVENTS] = "events"};

	for (int i = 0; i < K_COUNT; i++) {
		size_t n = hm_ctl_key(prefix, what[i], k->text[i], HM_CTL_KEY_MAX);

		if (i == K_DOCS || i == K_LOG) {
			hm_assert(name.len <= HM_TSTORE_NAME_MAX);
			if (name.len)
				memcpy(k->text[i] + n, name.p, name.len);
			n += name.len;
		}
		k->v[i] = hm_str_n(k->text[i], n);
	}
}

/* -- the script that changes ----------------------------------------------------------------- */

static const char *const op_names[HM_TSTORE_OPS] = {
	[HM_TSTORE_SAVE] = "save",	 [HM_TSTORE_PUBLISH] = "publish", [HM_TSTORE_ARCHIVE] = "archive",
	[HM_TSTORE_RESTORE] = "restore", [HM_TSTORE_CURRENT] = "current", [HM_TSTORE_DISCARD] = "discard",
	[HM_TSTORE_DELETE] = "delete",
};
static const char *const result_names[HM_TSTORE_RESULTS] = {
	[HM_TSTORE_OK] = "ok",
	[HM_TSTORE_SAME] = "same",
	[HM_TSTORE_STALE] = "stale",
	[HM_TSTORE_UNMATCHED] = "unmatched",
	[HM_TSTORE_EXISTS] = "exists",
	[HM_TSTORE_MISSING] = "missing",
	[HM_TSTORE_NO_DRAFT] = "nodraft",
	[HM_TSTORE_NO_VERSION] = "noversion",
	[HM_TSTORE_ARCHIVED] = "archived",
	[HM_TSTORE_PUBLISHED] = "published",
	[HM_TSTORE_FULL] = "full",
	[HM_TSTORE_MANY] = "many",
};

/* KEYS: index, names, documents, log, token, events.
 * ARGV: op, name, match, new etag, at, by, version, document, kind, description, note, most templates, most versions.
 * Answers {result, etag, version, current}. */
static struct hm_redis_script change_script = {
	.name = "template-change",
	.source =
		"local index, names, docs, log = KEYS[1], KEYS[2], KEYS[3], KEYS[4]\n"
		"local op, name, match, tag, at, by = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5]), "
		"ARGV[6]\n"
		"local version, text, note = tonumber(ARGV[7]), ARGV[8], ARGV[11]\n"
		"local raw = redis.call('HGET', index, name)\n"
		"local t = raw and cjson.decode(raw)\n"
		"local gone = false\n"
		"if match == '-' then\n"
		"  if t then return {'exists', t.etag, t.latest, t.current} end\n"
		"elseif match ~= '' and not (t and (match == '*' or match == t.etag)) then\n"
		"  return {'stale', t and t.etag or '', 0, 0}\n"
		"end\n"
		"if not t then\n"
		"  if op ~= 'save' and not (op == 'publish' and text ~= '') then return {'missing', '', 0, "
		"0} end\n"
		"  if redis.call('HLEN', index) >= tonumber(ARGV[12]) then return {'full', '', 0, 0} end\n"
		"  t = {id = tag, etag = '', latest = 0, current = 0, archived = {}}\n"
		"end\n"
		"local function answer(result) return {result, t.etag, version, t.current} end\n"
		"local function meta() return cjson.encode({at = at, by = by, tok = tag, note = note}) end\n"
		"local function is_archived(v) return t.archived[string.format('%d', v)] end\n"
		"if op == 'save' then\n"
		"  if t.draft and redis.call('HGET', docs, 'draft') == text then return answer('same') end\n"
		"  if t.draft and match == '' then return answer('unmatched') end\n"
		"  redis.call('HSET', docs, 'draft', text, 'm:draft', meta())\n"
		"  t.draft = {at = at, by = by}\n"
		"elseif op == 'publish' then\n"
		"  if text == '' then\n"
		"    text = redis.call('HGET', docs, 'draft')\n"
		"    if not text then return answer('nodraft') end\n"
		"  elseif t.draft and match == '' then\n"
		"    return answer('unmatched')\n"
		"  end\n"
		"  if t.latest >= tonumber(ARGV[13]) then return answer('many') end\n"
		"  version = t.latest + 1\n"
		"  redis.call('HSET', docs, string.format('v%d', version), text, string.format('m:v%d', "
		"version), meta())\n"
		"  redis.call('HDEL', docs, 'draft', 'm:draft')\n"
		"  t.latest, t.current, t.draft = version, version, nil\n"
		"elseif op == 'archive' then\n"
		"  local from, to = version, version\n"
		"  if version == 0 then from, to = 1, t.latest end\n"
		"  if t.latest == 0 or to > t.latest then return answer('noversion') end\n"
		"  local changed = false\n"
		"  for v = from, to do\n"
		"    if not is_archived(v) then t.archived[string.format('%d', v)] = true; changed = true "
		"end\n"
		"  end\n"
		"  if not changed then return answer('same') end\n"
		"  if t.current > 0 and is_archived(t.current) then\n"
		"    t.current = 0\n"
		"    for v = t.latest, 1, -1 do\n"
		"      if not is_archived(v) then t.current = v; break end\n"
		"    end\n"
		"  end\n"
		"elseif op == 'restore' then\n"
		"  if version < 1 or version > t.latest then return answer('noversion') end\n"
		"  if not is_archived(version) then return answer('same') end\n"
		"  t.archived[string.format('%d', version)] = nil\n"
		"  if t.current == 0 then t.current = version end\n"
		"elseif op == 'current' then\n"
		"  if version < 1 or version > t.latest then return answer('noversion') end\n"
		"  if is_archived(version) then return answer('archived') end\n"
		"  if t.current == version then return answer('same') end\n"
		"  t.current = version\n"
		"elseif op == 'discard' then\n"
		"  if not t.draft then return answer('nodraft') end\n"
		"  redis.call('HDEL', docs, 'draft', 'm:draft')\n"
		"  t.draft = nil\n"
		"  gone = t.latest == 0\n"
		"else\n"
		"  if t.latest > 0 then return answer('published') end\n"
		"  gone = true\n"
		"end\n"
		"t.etag, t.at, t.by = tag, at, by\n"
		"if gone then\n"
		"  redis.call('HDEL', index, name)\n"
		"  redis.call('ZREM', names, name)\n"
		"  redis.call('DEL', docs, log)\n"
		"else\n"
		"  if op == 'save' or op == 'publish' then t.kind, t.about = ARGV[9], ARGV[10] end\n"
		"  redis.call('HSET', index, name, cjson.encode(t))\n"
		"  redis.call('ZADD', names, 0, name)\n"
		/* an editor that saves every minute would push everything else out of the log */
		"  if op == 'save' then\n"
		"    local last = redis.call('LINDEX', log, -1)\n"
		"    last = last and cjson.decode(last)\n"
		"    if last and last.op == 'save' and last.by == by then redis.call('RPOP', log) end\n"
		"  end\n"
		"  redis.call('RPUSH', log, cjson.encode({at = at, by = by, op = op, version = version, note "
		"= note}))\n"
		"  redis.call('LTRIM', log, -1000, -1)\n"
		"end\n"
		"redis.call('SET', KEYS[5], tag)\n"
		"redis.call('XADD', KEYS[6], 'MAXLEN', '~', '1000000', '*', 'type', 'template', 'name', "
		"name, 'etag', tag, "
		"'at', ARGV[5])\n"
		"return answer('ok')\n",
};

struct call {
	uint32_t magic;
	hm_tstore_fn fn;
	void *arg;
};

static uint32_t u32_at(const struct hm_reply *r, size_t i)
{
	const struct hm_reply *x = hm_reply_at(r, i);

	return x && x->type == HM_REPLY_INT && x->i >= 0 && x->i <= HM_TSTORE_VERSIONS ? (uint32_t)x->i : 0;
}

static void on_changed(void *arg, const struct hm_reply *reply, const struct hm_err *err)
{
	struct call *c = arg;
	struct hm_tstore_answer a = {.result = HM_TSTORE_RESULTS};
	struct hm_err e = {0};

	HM_CHECK(c, CALL_MAGIC);
	if (!err) {
		const struct hm_reply *word = hm_reply_at(reply, 0), *etag = hm_reply_at(reply, 1);

		for (int i = 0; word && i < HM_TSTORE_RESULTS; i++)
			if (hm_str_is(word->s, result_names[i]))
				a.result = (enum hm_tstore_result)i;
		if (etag)
			a.etag = etag->s;
		a.version = u32_at(reply, 2);
		a.current = u32_at(reply, 3);
		if (a.result == HM_TSTORE_RESULTS) {
			hm_err_set(&e, HM_EREDIS, "Redis answered something that is not understood");
			err = &e;
		}
	}
	c->fn(c->arg, err ? NULL : &a, err);
	HM_MAGIC_CLEAR(c);
	free(c);
}

void hm_tstore_change(struct hm_redis *r, struct hm_str prefix, const struct hm_tstore_change *c,
		      hm_tstore_fn fn, void *arg)
{
	struct call *call = calloc(1, sizeof(*call));
	char at[24], version[16], most[16], versions[16], tag[HM_ULID_TEXT + 1];
	struct hm_str args[13];
	struct hm_ulid id;
	struct keys k;

	if (!call)
		hm_panic(__FILE__, __LINE__, __func__, "no memory for a call");
	HM_MAGIC_SET(call, CALL_MAGIC);
	call->fn = fn;
	call->arg = arg;
	hm_assert(c->op < HM_TSTORE_OPS && c->doc.len <= HM_TSTORE_DOC_MAX);
	keys_make(&k, prefix, c->name);
	hm_ulid_new(&id, c->at_ms);
	hm_ulid_text(&id, tag);
	(void)snprintf(at, sizeof(at), "%llu", (unsigned long long)c->at_ms);
	(void)snprintf(version, sizeof(version), "%u", c->version);
	(void)snprintf(most, sizeof(most), "%u", c->max_templates ? c->max_templates : UINT32_MAX);
	(void)snprintf(versions, sizeof(versions), "%d", HM_TSTORE_VERSIONS);
	args[0] = hm_str_c(op_names[c->op]);
	args[1] = c->name;
	args[2] = c->match.len ? c->match : HM_STR("");
	args[3] = hm_str_n(tag, HM_ULID_TEXT);
	args[4] = hm_str_c(at);
	args[5] = c->by.len ? c->by : HM_STR("");
	args[6] = hm_str_c(version);
	args[7] = c->doc.len ? c->doc : HM_STR("");
	args[8] = c->kind.len ? c->kind : HM_STR("message");
	args[9] = hm_str_n(c->about.p ? c->about.p : "", hm_utf8_cut(c->about, HM_TSTORE_ABOUT_MAX));
	args[10] = hm_str_n(c->note.p ? c->note.p : "", hm_utf8_cut(c->note, HM_TSTORE_NOTE_MAX));
	args[11] = hm_str_c(most);
	args[12] = hm_str_c(versions);
	hm_redis_eval(r, &change_script, k.v, K_COUNT, args, hm_countof(args), on_changed, call);
}

void hm_tstore_explain(const struct hm_tstore_change *c, const struct hm_tstore_answer *a, struct hm_err *e)
{
	struct hm_str n = c->name;

	switch (a->result) {
	case HM_TSTORE_STALE:
		if (a->etag.len == 0)
			hm_err_set(e, HM_ENOENT, "there is no template \"%.*s\"", HM_STRF(n));
		else
			hm_err_set(e, HM_EEXIST,
				   "\"%.*s\" was changed by somebody else meanwhile; look at it again",
				   HM_STRF(n));
		break;
	case HM_TSTORE_UNMATCHED:
		hm_err_set(e, HM_EEXIST,
			   "\"%.*s\" has a draft; say which state this change is based on (If-Match: the "
			   "ETag, or *)",
			   HM_STRF(n));
		break;
	case HM_TSTORE_EXISTS:
		hm_err_set(e, HM_EEXIST, "there is a template \"%.*s\" already", HM_STRF(n));
		break;
	case HM_TSTORE_MISSING: hm_err_set(e, HM_ENOENT, "there is no template \"%.*s\"", HM_STRF(n)); break;
	case HM_TSTORE_NO_DRAFT: hm_err_set(e, HM_ENOENT, "\"%.*s\" has no draft", HM_STRF(n)); break;
	case HM_TSTORE_NO_VERSION:
		if (c->version == 0)
			hm_err_set(e, HM_ENOENT, "\"%.*s\" was never published", HM_STRF(n));
		else
			hm_err_set(e, HM_ENOENT, "\"%.*s\" has no version %u", HM_STRF(n), c->version);
		break;
	case HM_TSTORE_ARCHIVED:
		hm_err_set(e, HM_EINVAL, "version %u of \"%.*s\" is archived; restore it first", c->version,
			   HM_STRF(n));
		break;
	case HM_TSTORE_PUBLISHED:
		hm_err_set(e, HM_EINVAL, "\"%.*s\" has been published, its versions stay; archive it instead",
			   HM_STRF(n));
		break;
	case HM_TSTORE_FULL:
		hm_err_set(e, HM_ELIMIT, "there are %u templates already (templates.max_templates)",
			   c->max_templates);
		break;
	case HM_TSTORE_MANY:
		hm_err_set(e, HM_ELIMIT, "\"%.*s\" has %d versions, no more fit; go on under a new name",
			   HM_STRF(n), HM_TSTORE_VERSIONS);
		break;
	default: hm_err_set(e, HM_EINVAL, "nothing to explain"); break;
	}
}

/* -- reading --------------------------------------------------------------------------------- */

static struct hm_redis_script list_script = {
	.name = "template-list",
	/* KEYS: index, names. ARGV: from, to, limit */
	.source = "local names = redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])\n"
		  "local out = {}\n"
		  "for i, name in ipairs(names) do\n"
		  "  out[2 * i - 1] = name\n"
		  "  out[2 * i] = redis.call('HGET', KEYS[1], name) or ''\n"
		  "end\n"
		  "return out\n",
};

static struct hm_redis_script get_script = {
	.name = "template-get",
	/* KEYS: index, documents. ARGV: name, fields ... */
	.source = "local raw = redis.call('HGET', KEYS[1], ARGV[1])\n"
		  "if not raw then return false end\n"
		  "local t = cjson.decode(raw)\n"
		  "local f = {'m:draft'}\n"
		  "for v = 1, t.latest do f[v + 1] = string.format('m:v%d', v) end\n"
		  "for i = 2, #ARGV do\n"
		  "  f[#f + 1] = ARGV[i] == 'current' and string.format('v%d', t.current) or ARGV[i]\n"
		  "end\n"
		  "local out = {raw}\n"
		  "for i, name in ipairs(f) do out[i + 1] = redis.call('HGET', KEYS[2], name) end\n"
		  "return out\n",
};

void hm_tstore_list(struct hm_redis *r, struct hm_str prefix, struct hm_str begin, struct hm_str after,
		    uint32_t limit, hm_reply_fn fn, void *arg)
{
	char from[HM_TSTORE_NAME_MAX + 2], to[HM_TSTORE_NAME_MAX + 3], most[16];
	struct hm_str args[3];
	struct keys k;
	int n;

	hm_assert(begin.len <= HM_TSTORE_NAME_MAX && after.len <= HM_TSTORE_NAME_MAX);
	keys_make(&k, prefix, HM_STR(""));
	if (after.len && hm_str_cmp(after, begin) > 0)
		n = snprintf(from, sizeof(from), "(%.*s", HM_STRF(after));
	else
		n = snprintf(from, sizeof(from), "[%.*s", HM_STRF(begin));
	args[0] = hm_str_n(from, (size_t)n);
	/* no byte of UTF-8 is 0xff: this is the end of everything that begins so */
	n = snprintf(to, sizeof(to), "(%.*s\xff", HM_STRF(begin));
	args[1] = hm_str_n(to, (size_t)n);
	args[2] = hm_str_n(most, (size_t)snprintf(most, sizeof(most), "%u", limit));
	hm_redis_eval(r, &list_script, k.v, 2, args, 3, fn, arg);
}

void hm_tstore_get(struct hm_redis *r, struct hm_str prefix, struct hm_str name, const struct hm_str *fields,
		   size_t n, hm_reply_fn fn, void *arg)
{
	struct hm_str args[1 + HM_TSTORE_FIELDS_MAX], use[2];
	struct keys k;

	hm_assert(n <= HM_TSTORE_FIELDS_MAX);
	keys_make(&k, prefix, name);
	use[0] = k.v[K_INDEX];
	use[1] = k.v[K_DOCS];
	args[0] = name;
	for (size_t i = 0; i < n; i++)
		args[1 + i] = fields[i];
	hm_redis_eval(r, &get_script, use, 2, args, 1 + n, fn, arg);
}

void hm_tstore_docs(struct hm_redis *r, struct hm_str prefix, struct hm_str name, const uint32_t *v, size_t n,
		    hm_reply_fn fn, void *arg)
{
	char text[HM_TSTORE_DOCS_MAX][16];
	struct hm_str argv[2 + HM_TSTORE_DOCS_MAX];
	struct keys k;

	hm_assert(n > 0 && n <= HM_TSTORE_DOCS_MAX);
	keys_make(&k, prefix, name);
	argv[0] = HM_STR("HMGET");
	argv[1] = k.v[K_DOCS];
	for (size_t i = 0; i < n; i++)
		argv[2 + i] = hm_str_n(text[i], (size_t)snprintf(text[i], sizeof(text[i]), "v%u", v[i]));
	hm_redis_send(r, k.v[K_DOCS], argv, 2 + n, fn, arg);
}

void hm_tstore_token(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn, void *arg)
{
	struct hm_str argv[2];
	struct keys k;

	keys_make(&k, prefix, HM_STR(""));
	argv[0] = HM_STR("GET");
	argv[1] = k.v[K_TOKEN];
	hm_redis_send(r, argv[1], argv, 2, fn, arg);
}

void hm_tstore_index(struct hm_redis *r, struct hm_str prefix, hm_reply_fn fn, void *arg)
{
	struct hm_str argv[2];
	struct keys k;

	keys_make(&k, prefix, HM_STR(""));
	argv[0] = HM_STR("HGETALL");
	argv[1] = k.v[K_INDEX];
	hm_redis_send(r, argv[1], argv, 2, fn, arg);
}

void hm_tstore_log(struct hm_redis *r, struct hm_str prefix, struct hm_str name, uint32_t limit,
		   hm_reply_fn fn, void *arg)
{
	struct hm_str argv[4];
	struct keys k;
	char from[16];

	keys_make(&k, prefix, name);
	argv[0] = HM_STR("LRANGE");
	argv[1] = k.v[K_LOG];
	argv[2] = hm_str_n(from, (size_t)snprintf(from, sizeof(from), "-%u", limit ? limit : 1));
	argv[3] = HM_STR("-1");
	hm_redis_send(r, argv[1], argv, 4, fn, arg);
}

/* -- what is in the JSON ------------------------------------------------------------------------ */

/* Decodes into the arena: the texts of *o live there. */
static int decode(struct hm_str json, struct hm_arena *a, msgpack_zone *zone, msgpack_object *o,
		  struct hm_err *e)
{
	struct hm_buf mp;

	hm_buf_init_arena(&mp, a, 1u << 20);
	if (hm_json_to_msgpack(json, &mp, e))
		return e->code;
	if (mp.err)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (hm_msgpack_decode(zone, hm_buf_str(&mp), o, e))
		return e->code;
	if (o->type != MSGPACK_OBJECT_MAP)
		return hm_err_set(e, HM_EPARSE, "not an object");
	return 0;
}

static struct hm_str text_of(const msgpack_object *o, const char *key)
{
	struct hm_str s = HM_STR("");

	(void)hm_mp_str(hm_mp_get(o, hm_str_c(key)), &s);
	return s;
}

static uint32_t version_of(const msgpack_object *o, const char *key)
{
	uint64_t v = 0;

	(void)hm_mp_u64(hm_mp_get(o, hm_str_c(key)), &v);
	return v <= HM_TSTORE_VERSIONS ? (uint32_t)v : 0;
}

int hm_tstore_read_info(struct hm_str json, struct hm_arena *a, struct hm_tstore_info *t, struct hm_err *e)
{
	const msgpack_object *map;
	msgpack_object o;
	msgpack_zone zone;
	struct hm_str key;
	uint64_t v;
	int rc;

	memset(t, 0, sizeof(*t));
	if (!msgpack_zone_init(&zone, 1024))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	rc = decode(json, a, &zone, &o, e);
	if (rc == 0) {
		t->id = text_of(&o, "id");
		t->etag = text_of(&o, "etag");
		t->by = text_of(&o, "by");
		t->kind = text_of(&o, "kind");
		t->about = text_of(&o, "about");
		t->latest = version_of(&o, "latest");
		t->current = version_of(&o, "current");
		(void)hm_mp_u64(hm_mp_get(&o, HM_STR("at")), &t->at_ms);
		map = hm_mp_get(&o, HM_STR("draft"));
		if (map && map->type == MSGPACK_OBJECT_MAP) {
			t->draft = true;
			t->draft_by = text_of(map, "by");
			(void)hm_mp_u64(hm_mp_get(map, HM_STR("at")), &t->draft_at_ms);
		}
		map = hm_mp_get(&o, HM_STR("archived"));
		for (uint32_t i = 0; map && map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++)
			if (hm_mp_str(&map->via.map.ptr[i].key, &key) && hm_str_u64(key, &v) &&
			    v <= HM_TSTORE_VERSIONS)
				t->archived[v / 64] |= UINT64_C(1) << (v % 64);
		if (t->etag.len == 0 || t->id.len == 0 || t->current > t->latest)
			rc = hm_err_set(e, HM_EPARSE, "not an entry of the index");
	}
	msgpack_zone_destroy(&zone);
	return rc ? hm_err_wrap(e, "the index of templates is damaged") : 0;
}

int hm_tstore_read_meta(struct hm_str json, struct hm_arena *a, struct hm_tstore_meta *m, struct hm_err *e)
{
	msgpack_object o;
	msgpack_zone zone;
	int rc;

	memset(m, 0, sizeof(*m));
	if (!msgpack_zone_init(&zone, 1024))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	rc = decode(json, a, &zone, &o, e);
	if (rc == 0) {
		m->by = text_of(&o, "by");
		m->tok = text_of(&o, "tok");
		m->note = text_of(&o, "note");
		m->op = text_of(&o, "op");
		m->version = version_of(&o, "version");
		(void)hm_mp_u64(hm_mp_get(&o, HM_STR("at")), &m->at_ms);
	}
	msgpack_zone_destroy(&zone);
	return rc;
}
