/*
 * preview.c - one template on many channels, as JSON
 */
#include "templates/preview.h"

#include "adapter/dryrun.h"
#include "base/json.h"
#include "ingest/job.h"

#define SAMPLE_URL HM_STR("https://example.com/hook")
#define TOKEN	   HM_STR("<token>")

/* -- small JSON -------------------------------------------------------------------------- */

static void put_text(struct hm_buf *b, struct hm_str s)
{
	hm_buf_putc(b, '"');
	hm_buf_json(b, s);
	hm_buf_putc(b, '"');
}

static void put_member(struct hm_buf *b, const char *name, struct hm_str v)
{
	if (v.len == 0)
		return;
	if (b->p[b->len - 1] != '{')
		hm_buf_putc(b, ',');
	hm_buf_printf(b, "\"%s\":", name);
	put_text(b, v);
}

static void put_object(struct hm_buf *b, const char *name, const msgpack_object *o)
{
	if (o == NULL)
		return;
	if (b->p[b->len - 1] != '{')
		hm_buf_putc(b, ',');
	hm_buf_printf(b, "\"%s\":", name);
	hm_msgpack_to_json(o, b);
}

/* -- one channel ----------------------------------------------------------------------------- */

struct row {
	const struct hm_preview *p;
	const struct hm_channel *ch;
	const struct hm_channel_info *info;
	const msgpack_object *data, *facts;
	struct hm_arena *a, *scratch;
	struct hm_buf *out;
};

static void put_content(struct hm_buf *b, const struct hm_content *c)
{
	hm_buf_lit(b, ",\"content\":{");
	put_member(b, "title", c->title);
	put_member(b, "body", c->body);
	put_member(b, "short", c->short_text);
	put_member(b, "url", c->url);
	put_member(b, "image", c->image);
	put_object(b, "buttons", c->buttons);
	put_object(b, "options", c->options);
	put_object(b, "data", c->data);
	hm_buf_putc(b, '}');
}

static void put_lengths(struct hm_buf *b, const struct hm_build_report *r)
{
	static const char *const actions[] = {[HM_FIT_WHOLE] = "whole",
					      [HM_FIT_CUT] = "cut",
					      [HM_FIT_SPLIT] = "split",
					      [HM_FIT_SHORT] = "short"};

	hm_buf_lit(b, ",\"lengths\":[");
	for (size_t i = 0; i < r->n_fields; i++) {
		const struct hm_build_field *f = &r->field[i];

		hm_buf_printf(b, "%s{\"field\":\"%.*s\",\"length\":%zu,\"sent\":%zu,", i ? "," : "",
			      HM_STRF(f->name), f->before, f->after);
		if (f->max)
			hm_buf_printf(b, "\"limit\":%zu,", f->max);
		hm_buf_printf(b, "\"unit\":\"%s\",\"action\":\"%s\",\"parts\":%u}", hm_unit_name(f->unit),
			      actions[f->action], f->parts);
	}
	hm_buf_putc(b, ']');
	if (r->sms) {
		const struct hm_sms *s = &r->sms_size;

		hm_buf_printf(b, ",\"sms\":{\"encoding\":\"%s\",\"units\":%u,\"segments\":%u,\"room\":%u",
			      s->ucs2 ? "UCS-2" : "GSM-7", s->units, s->segments, s->room);
		put_member(b, "because", s->forced);
		hm_buf_putc(b, '}');
	}
}

static void put_warnings(struct hm_buf *b, const struct hm_build_report *r)
{
	hm_buf_lit(b, ",\"warnings\":[");
	for (size_t i = 0; i < r->n_warnings; i++) {
		if (i)
			hm_buf_putc(b, ',');
		put_text(b, r->warning[i]);
	}
	hm_buf_putc(b, ']');
}

static struct hm_str body_type(const struct hm_call *call)
{
	for (size_t i = 0; i < call->n_headers; i++)
		if (hm_str_ieq(call->headers[i].name, HM_STR("content-type")))
			return call->headers[i].value;
	return HM_STR("");
}

/* The body as it goes out: JSON as JSON, anything else as text. */
static void put_payload(const struct row *w, const struct hm_call *call, const struct hm_build_report *r)
{
	struct hm_str type = body_type(call);
	struct hm_buf body, probe;
	struct hm_err e = {0};
	bool json;

	hm_buf_init_arena(&body, w->a, HM_PREVIEW_MAX_BYTES);
	hm_buf_puts(&body, call->body);
	hm_dryrun_mask(w->ch, &body);
	hm_buf_init_arena(&probe, w->scratch, HM_PREVIEW_MAX_BYTES);
	json = hm_str_find(type, HM_STR("json")) >= 0 &&
	       hm_json_to_msgpack(hm_buf_str(&body), &probe, &e) == 0;
	hm_buf_lit(w->out, "{");
	put_member(w->out, "type", type);
	hm_buf_printf(w->out, "%s\"bytes\":%zu", type.len ? "," : "", call->body.len);
	if (r->payload_max)
		hm_buf_printf(w->out, ",\"limit\":%zu", r->payload_max);
	hm_buf_puts(w->out, json ? HM_STR(",\"json\":") : HM_STR(",\"text\":"));
	if (json)
		hm_buf_puts(w->out, hm_buf_str(&body));
	else
		put_text(w->out, hm_buf_str(&body));
	hm_buf_putc(w->out, '}');
}

static const char *const samples[HM_MED_COUNT] = {[HM_MED_PUSH] = "recipient",
						  [HM_MED_SMS] = "+8613800000000",
						  [HM_MED_EMAIL] = "recipient@example.com",
						  [HM_MED_CHAT] = "recipient",
						  [HM_MED_VOICE] = "+8613800000000",
						  [HM_MED_INBOX] = "recipient",
						  [HM_MED_WEBHOOK] = "recipient",
						  [HM_MED_ALERT] = "recipient",
						  [HM_MED_IOT] = "recipient"};

/* false: none was given, it is made up */
static bool address(const struct row *w, struct hm_str *s_r)
{
	const msgpack_object *o = w->p->to;

	if (o != NULL && o->type == MSGPACK_OBJECT_MAP) {
		const msgpack_object *v = hm_mp_get(o, w->info->name);

		o = v ? v : hm_mp_get(o, hm_str_c(hm_medium_name(w->info->medium)));
	}
	if (hm_mp_str(o, s_r) && s_r->len > 0)
		return true;
	*s_r = w->info->sample.len	   ? w->info->sample
	       : w->info->recipient_is_url ? SAMPLE_URL
					   : hm_str_c(samples[w->info->medium]);
	return false;
}

/* Every part of the content, built; the first one's report speaks for the texts. */
static int build(const struct row *w, const struct hm_content *c, struct hm_err *e)
{
	struct hm_build_rcpt rcpt = {.user = HM_STR("preview")};
	static const uint8_t seed[1];
	bool real = address(w, &rcpt.addr);
	uint32_t parts = 1;

	hm_ulid_derive(&rcpt.id, w->p->now_ms, seed,
		       sizeof(seed)); /* a message of that time, always the same */
	for (uint32_t part = 0; part < parts; part++) {
		struct hm_build_report r = {0};
		struct hm_build_in in = {
			.channel = w->ch,
			.rcpts = &rcpt,
			.n_rcpts = 1,
			.content = c,
			.credential = w->info->needs_credential ? TOKEN : HM_STR(""),
			.wall_ms = w->p->now_ms,
			.lane = HM_LANE_NORMAL,
			.sample = !real,
			.part = part,
			.parts_r = &parts,
			.report = &r,
		};
		struct hm_call call = {0};
		struct hm_origin_opts origin;
		enum hm_outcome o;

		if (hm_channel_build(&in, w->a, &call, &origin, &o, e) != 0)
			return e->code;
		if (part == 0) {
			put_member(w->out, "dialect", r.dialect);
			put_content(w->out, c);
			put_lengths(w->out, &r);
			put_warnings(w->out, &r);
			hm_buf_lit(w->out, ",\"payloads\":[");
		} else {
			hm_buf_putc(w->out, ',');
		}
		put_payload(w, &call, &r);
	}
	hm_buf_putc(w->out, ']');
	return 0;
}

static void put_row(const struct row *w)
{
	struct hm_render_env env = {
		.roots = {w->data, w->facts},
		.locale = w->p->locale,
		.tz = w->p->tz,
		.now_ms = w->p->now_ms,
		.arena = w->a,
		.scratch = w->scratch,
		.settings = &w->p->cfg->settings,
		.set = w->p->set,
	};
	struct hm_content c = {0};
	struct hm_err e = {0};
	size_t head;

	hm_buf_lit(w->out, "{");
	put_member(w->out, "channel", w->info->name);
	put_member(w->out, "adapter", w->info->adapter);
	put_member(w->out, "medium", hm_str_c(hm_medium_name(w->info->medium)));
	head = w->out->len;
	hm_buf_lit(w->out, ",\"ok\":true");
	if (hm_template_render(w->p->tmpl, w->info->medium, &env, &c, &e) != 0 || build(w, &c, &e) != 0) {
		w->out->len = head; /* what was written of it is not the whole truth */
		hm_buf_lit(w->out, ",\"ok\":false");
		put_member(w->out, "field", hm_str_c(e.field));
		put_member(w->out, "error", hm_str_c(e.text));
	}
	hm_buf_putc(w->out, '}');
}

/* -- which channels ----------------------------------------------------------------------------- */

static bool wanted(const struct hm_preview *p, const struct hm_channel_info *info)
{
	bool named = p->n_names == 0 && p->route == NULL;

	if (p->media != 0 && !(p->media & (1u << info->medium)))
		return false;
	for (size_t i = 0; i < p->n_names && !named; i++)
		named = hm_str_eq(p->names[i], info->name);
	for (size_t i = 0; p->route != NULL && i < p->route->n && !named; i++)
		named = hm_str_eq(p->route->steps[i].channel, info->name);
	return named;
}

/* {"facts": {...}}: what was given, else the fallbacks. */
static const msgpack_object *facts_root(const struct hm_preview *p, struct hm_arena *a)
{
	const struct hm_template_fact *f;
	size_t n = hm_template_facts(p->tmpl, &f);
	msgpack_object *root, *map;

	if (n == 0)
		return NULL;
	root = hm_arena_zalloc(a, sizeof(*root) + sizeof(msgpack_object_kv) * (n + 1));
	if (root == NULL)
		return NULL;
	root->type = MSGPACK_OBJECT_MAP;
	root->via.map.size = 1;
	root->via.map.ptr = (msgpack_object_kv *)(root + 1);
	root->via.map.ptr[0].key = (msgpack_object){.type = MSGPACK_OBJECT_STR, .via.str = {5, "facts"}};
	map = &root->via.map.ptr[0].val;
	map->type = MSGPACK_OBJECT_MAP;
	map->via.map.size = (uint32_t)n;
	map->via.map.ptr = root->via.map.ptr + 1;
	for (size_t i = 0; i < n; i++) {
		const msgpack_object *v = p->facts ? hm_mp_get(p->facts, f[i].name) : NULL;
		msgpack_object_kv *kv = &map->via.map.ptr[i];

		kv->key = (msgpack_object){.type = MSGPACK_OBJECT_STR,
					   .via.str = {(uint32_t)f[i].name.len, f[i].name.p}};
		if (v == NULL)
			v = f[i].fallback;
		if (v != NULL)
			kv->val = *v;
	}
	return root;
}

/* A map of addresses: what is not read there would be missed without a word. */
static int check_addresses(const struct hm_preview *p, struct hm_err *e)
{
	const msgpack_object *o = p->to;
	struct hm_str k, v;

	for (uint32_t i = 0; o && o->type == MSGPACK_OBJECT_MAP && i < o->via.map.size; i++) {
		if (!hm_mp_str(&o->via.map.ptr[i].key, &k) ||
		    (hm_medium_find(k) < 0 && hm_channel_find(p->channels, k) == NULL))
			hm_err_set(e, HM_EINVAL, "\"%.*s\" is neither a medium nor a channel", HM_STRF(k));
		else if (!hm_mp_str(&o->via.map.ptr[i].val, &v))
			hm_err_set(e, HM_EINVAL, "the address for %.*s must be a text", HM_STRF(k));
		else
			continue;
		hm_err_field(e, "to");
		return e->code;
	}
	return 0;
}

int hm_preview_write(const struct hm_preview *p, struct hm_arena *a, struct hm_buf *out, struct hm_err *e)
{
	const msgpack_object *data = p->data;
	struct hm_arena_mark mark;
	struct hm_arena scratch;
	msgpack_object example;
	struct row w;
	size_t n = 0;

	for (size_t i = 0; i < p->n_names; i++)
		if (hm_channel_find(p->channels, p->names[i]) == NULL) {
			hm_err_set(e, HM_ENOENT, "no channel \"%.*s\"", HM_STRF(p->names[i]));
			hm_err_field(e, "channels");
			return e->code;
		}
	if (check_addresses(p, e) != 0)
		return e->code;
	if (data == NULL) {
		if (hm_template_example(p->tmpl, a, &example, e) != 0)
			return e->code;
		data = &example;
	}
	hm_arena_init(&scratch, NULL, 0);
	w = (struct row){
		.p = p, .data = data, .facts = facts_root(p, a), .a = a, .scratch = &scratch, .out = out};
	hm_buf_putc(out, '{');
	put_member(out, "template", hm_template_name(p->tmpl));
	hm_buf_printf(out, "%s\"version\":%u", out->p[out->len - 1] == '{' ? "" : ",",
		      hm_template_version(p->tmpl));
	put_object(out, "data", data);
	hm_buf_lit(out, ",\"channels\":[");
	mark = hm_arena_mark(a);
	for (size_t i = 0; i < p->channels->n; i++) {
		w.ch = p->channels->v[i];
		w.info = hm_channel_info(w.ch);
		if (!wanted(p, w.info))
			continue;
		if (n++ > 0)
			hm_buf_putc(out, ',');
		put_row(&w); /* all of it is in `out` then, and every channel has the same room */
		hm_arena_rewind(a, mark);
		hm_arena_reset(&scratch);
	}
	hm_buf_lit(out, "]}");
	hm_arena_fini(&scratch);
	return out->err ? hm_err_set(e, out->err, "the preview is longer than %u bytes", HM_PREVIEW_MAX_BYTES)
			: 0;
}
