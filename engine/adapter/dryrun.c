/*
 * dryrun.c - requests as text
 */
#include "adapter/dryrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "adapter/cred.h"
#include "adapter/model.h"
#include "base/json.h"
#include "config/config_int.h"

#define PLACEHOLDER HM_STR("<token>")
#define MAX_TEXT    (16u << 20)

/* -- masking ------------------------------------------------------------------------ */

static void replace_all(struct hm_buf *b, struct hm_str from)
{
	struct hm_buf out;
	struct hm_str s = hm_buf_str(b);
	ptrdiff_t at;

	if (from.len == 0 || hm_str_find(s, from) < 0)
		return;
	hm_buf_init(&out, MAX_TEXT);
	while ((at = hm_str_find(s, from)) >= 0) {
		hm_buf_put(&out, s.p, (size_t)at);
		hm_buf_lit(&out, "***");
		s.p += (size_t)at + from.len;
		s.len -= (size_t)at + from.len;
	}
	hm_buf_puts(&out, s);
	hm_buf_reset(b);
	hm_buf_puts(b, hm_buf_str(&out));
	hm_buf_fini(&out);
}

/* A secret may stand there as it is, or in the clothes of a URL, a form or JSON. */
void hm_dryrun_mask(const struct hm_channel *c, struct hm_buf *text)
{
	static const hm_escape_fn forms[] = {hm_buf_percent, hm_buf_form, hm_buf_json};
	struct hm_buf b;

	for (uint32_t i = 0; i < c->n_secrets; i++) {
		replace_all(text, c->secrets[i]);
		for (size_t f = 0; f < hm_countof(forms); f++) {
			hm_buf_init(&b, MAX_TEXT);
			forms[f](&b, c->secrets[i]);
			replace_all(text, hm_buf_str(&b));
			hm_buf_fini(&b);
		}
	}
}

/* -- printing ------------------------------------------------------------------------- */

static void put_origin(const struct hm_origin_opts *o, struct hm_buf *out)
{
	bool v6 = hm_str_chr(o->host, ':') >= 0;

	hm_buf_printf(out, "%s%s://", hm_protocol_name(o->protocol), o->tls ? "s" : "");
	if (v6)
		hm_buf_putc(out, '[');
	hm_buf_puts(out, o->host);
	if (v6)
		hm_buf_putc(out, ']');
	if (o->protocol != HM_PROTO_HTTP || o->port != (o->tls ? 443 : 80))
		hm_buf_printf(out, ":%u", o->port);
}

static void put_request(const struct hm_dryrun *d, const struct hm_call *call, const struct hm_origin_opts *o,
			struct hm_str credential, struct hm_buf *out)
{
	struct hm_buf text;

	hm_buf_init(&text, MAX_TEXT);
	hm_buf_puts(&text, call->method);
	hm_buf_putc(&text, ' ');
	put_origin(o, &text);
	hm_buf_puts(&text, call->path);
	hm_buf_putc(&text, '\n');
	for (size_t i = 0; i < call->n_headers; i++) {
		const struct hm_header *h = &call->headers[i];
		bool ours = credential.len && hm_str_find(h->value, credential) >= 0;

		hm_buf_puts(&text, h->name);
		hm_buf_lit(&text, ": ");
		/* A header made of a secret (Basic, a bare key) shows nothing; the token has its own rule. */
		if ((h->flags & HM_HDR_NEVER_INDEX) && !ours && !d->show_secrets)
			hm_buf_lit(&text, "***");
		else
			hm_buf_puts(&text, h->value);
		hm_buf_putc(&text, '\n');
	}
	hm_buf_putc(&text, '\n');
	if (call->body.len && !hm_utf8_valid(call->body)) { /* encrypted */
		hm_buf_printf(&text, "%zu bytes, in base64: ", call->body.len);
		hm_buf_base64(&text, call->body.p, call->body.len);
		hm_buf_putc(&text, '\n');
	} else if (call->body.len) {
		hm_buf_puts(&text, call->body);
		hm_buf_putc(&text, '\n');
	}
	if (!d->show_secrets)
		hm_dryrun_mask(d->channel, &text);
	hm_buf_puts(out, hm_buf_str(&text));
	hm_buf_fini(&text);
}

/* -- the message ------------------------------------------------------------------------ */

static struct hm_str member(const msgpack_object *o, const char *name)
{
	struct hm_str s = HM_STR("");

	(void)!hm_mp_str(hm_mp_get(o, hm_str_c(name)), &s);
	return s;
}

static int check_members(const msgpack_object *m, struct hm_err *e)
{
	static const char *const keys[] = {"to",      "user",	 "title", "body",    "short",
					   "format",  "url",	 "image", "buttons", "data",
					   "options", "expires", "id",	  "lane",    NULL};

	if (m->type != MSGPACK_OBJECT_MAP)
		return hm_err_set(e, HM_EINVAL,
				  "the message must be a map with to, title, body, data, options");
	for (uint32_t i = 0; i < m->via.map.size; i++) {
		struct hm_val v = hm_val_of_object(&m->via.map.ptr[i].key);
		const char *near;
		size_t k = 0;

		if (v.t != HM_V_STR)
			return hm_err_set(e, HM_EINVAL, "the names of the message must be texts");
		while (keys[k] && !hm_str_is(v.s, keys[k]))
			k++;
		if (keys[k])
			continue;
		near = hm_str_nearest(v.s, keys);
		return hm_err_set(e, HM_EINVAL, "the message has no member \"%.*s\"%s%s%s", HM_STRF(v.s),
				  near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	}
	return 0;
}

static int read_recipients(const struct hm_dryrun *d, struct hm_arena *a, struct hm_build_rcpt **r,
			   size_t *n_r, struct hm_err *e)
{
	struct hm_val to = hm_val_of_object(hm_mp_get(d->message, HM_STR("to")));
	size_t n = to.t == HM_V_OBJ ? hm_val_len(&to) : to.t != HM_V_NONE;
	struct hm_str id_text = member(d->message, "id");
	struct hm_ulid id;

	if (n == 0)
		return hm_err_set(e, HM_EINVAL, "the message has no to");
	if (id_text.len && !hm_ulid_parse(id_text, &id))
		return hm_err_set(e, HM_EINVAL, "id: expected a ULID (26 characters)");
	if (id_text.len == 0) { /* the same inputs give the same request */
		struct hm_val first = to.t == HM_V_OBJ ? hm_val_at(&to, 0, NULL, a) : to;
		struct hm_str seed = hm_val_text(&first, a);

		hm_ulid_derive(&id, d->wall_ms, seed.p, seed.len);
	}
	*r = hm_arena_zalloc(a, n * sizeof(**r));
	if (*r == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct hm_val v = to.t == HM_V_OBJ ? hm_val_at(&to, i, NULL, a) : to;

		if (v.t != HM_V_STR && v.t != HM_V_INT)
			return hm_err_set(e, HM_EINVAL, "to: expected an address or a list of addresses");
		(*r)[i].addr = hm_val_text(&v, a);
		(*r)[i].user = member(d->message, "user");
		(*r)[i].id = id;
		hm_ulid_add(&id, 1);
	}
	*n_r = n;
	return 0;
}

static int credential(const struct hm_dryrun *d, struct hm_arena *a, struct hm_str *token_r,
		      struct hm_buf *out, struct hm_err *e)
{
	struct hm_origin_opts o;
	struct hm_call call = {0};
	int rc;

	*token_r = HM_STR("");
	if (!hm_channel_info(d->channel)->needs_credential)
		return 0;
	if (!hm_cred_exchanges(d->channel)) {
		rc = hm_cred_mint(d->channel, d->wall_ms, a, token_r, e);
		if (rc != 0)
			return rc;
		hm_buf_lit(out, "# credential: signed here, no request\n");
		hm_buf_puts(out, *token_r);
		hm_buf_lit(out, "\n\n");
		return 0;
	}
	rc = hm_cred_request(d->channel, d->wall_ms, d->nonce, a, &call, &o, e);
	if (rc != 0)
		return rc;
	hm_buf_lit(out, "# credential: token request\n");
	put_request(d, &call, &o, HM_STR(""), out);
	hm_buf_lit(out, "\n");
	*token_r = d->token.len ? d->token : PLACEHOLDER;
	return 0;
}

/* What happened to the texts on their way. */
static void put_report(const struct hm_build_report *r, struct hm_buf *out)
{
	static const char *const actions[] = {"", ", cut to ", ", split into parts of at most ",
					      ", replaced by the short text of "};

	hm_buf_printf(out, "\n# texts, as %.*s\n", HM_STRF(r->dialect));
	for (size_t i = 0; i < r->n_fields; i++) {
		const struct hm_build_field *f = &r->field[i];

		hm_buf_printf(out, "#   %-8.*s %zu %s", HM_STRF(f->name), f->before, hm_unit_name(f->unit));
		if (f->max)
			hm_buf_printf(out, " (at most %zu)", f->max);
		if (f->action != HM_FIT_WHOLE)
			hm_buf_printf(out, "%s%zu", actions[f->action], f->after);
		hm_buf_putc(out, '\n');
	}
	if (r->sms)
		hm_buf_printf(out, "#   %-8s %s, %u %s, %u segment%s, room for %u more\n", "sms",
			      r->sms_size.ucs2 ? "UCS-2" : "GSM 7-bit", r->sms_size.units,
			      r->sms_size.ucs2 ? "units" : "septets", r->sms_size.segments,
			      r->sms_size.segments == 1 ? "" : "s", r->sms_size.room);
	hm_buf_printf(out, "#   %-8s %zu bytes", "payload", r->payload);
	if (r->payload_max)
		hm_buf_printf(out, " (at most %zu)", r->payload_max);
	hm_buf_putc(out, '\n');
	for (size_t i = 0; i < r->n_warnings; i++)
		hm_buf_printf(out, "# warning: %.*s\n", HM_STRF(r->warning[i]));
}

/* What is asked for first, where the adapter does. */
static int put_prepare(const struct hm_dryrun *d, struct hm_build_in *in, struct hm_arena *a,
		       struct hm_str token, bool first, struct hm_buf *out, struct hm_err *e)
{
	const struct hm_channel_info *info = hm_channel_info(d->channel);
	struct hm_call call = {0};
	enum hm_outcome o;
	struct hm_str key;
	uint64_t keep_ms;

	if (!info->prepares)
		return 0;
	if (hm_channel_prepare(in, a, &call, &key, &keep_ms, &o, e) != 0)
		return hm_err_wrap(e, "not sent (%s)", hm_outcome_name(o));
	if (key.len == 0)
		return 0;
	hm_buf_printf(out, "%s# prepare: asked once, kept for %llu s\n", first ? "" : "\n",
		      (unsigned long long)(keep_ms / 1000));
	put_request(d, &call, &info->origin, token, out);
	hm_buf_putc(out, '\n');
	in->prepared = HM_STR("<prepared>");
	return 0;
}

/* One call's worth of recipients: as many requests as the text has parts. */
static int put_parts(const struct hm_dryrun *d, struct hm_build_in *in, struct hm_arena *a,
		     struct hm_str token, bool first, struct hm_buf *out, struct hm_err *e)
{
	const struct hm_channel_info *info = hm_channel_info(d->channel);
	struct hm_build_report *report = hm_arena_alloc(a, sizeof(*report));
	uint32_t parts = 1;

	if (report == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	in->parts_r = &parts;
	in->report = report;
	for (in->part = 0; in->part < parts; in->part++) {
		struct hm_call call = {0};
		struct hm_origin_opts origin = info->origin;
		enum hm_outcome o;

		memset(report, 0, sizeof(*report));
		if (hm_channel_build(in, a, &call, &origin, &o, e) != 0)
			return hm_err_wrap(e, "not sent (%s)", hm_outcome_name(o));
		hm_buf_printf(out, "%s# message: %zu recipient%s", first && in->part == 0 ? "" : "\n",
			      in->n_rcpts, in->n_rcpts == 1 ? "" : "s");
		if (parts > 1)
			hm_buf_printf(out, ", part %u of %u", in->part + 1, parts);
		hm_buf_putc(out, '\n');
		put_request(d, &call, info->recipient_is_url ? &origin : &info->origin, token, out);
	}
	put_report(report, out);
	return 0;
}

static int read_format(const struct hm_dryrun *d, struct hm_content *c, struct hm_err *e)
{
	static const char *const formats[] = {"plain", "markdown", "html"};
	struct hm_str s = member(d->message, "format");

	for (size_t i = 0; i < hm_countof(formats); i++)
		if (hm_str_is(s, formats[i]) || (s.len == 0 && i == HM_TEXT_PLAIN)) {
			c->format = (enum hm_text_format)i;
			return 0;
		}
	return hm_err_set(e, HM_EINVAL, "format: expected plain, markdown or html");
}

static int requests(const struct hm_dryrun *d, struct hm_arena *a, struct hm_buf *out, struct hm_err *e)
{
	const struct hm_channel_info *info = hm_channel_info(d->channel);
	struct hm_content content = {0};
	struct hm_build_rcpt *rcpts = NULL;
	struct hm_build_in in = {
		.channel = d->channel, .content = &content, .wall_ms = d->wall_ms, .nonce = d->nonce};
	struct hm_str token, lane = member(d->message, "lane");
	uint64_t expires;
	size_t n = 0;
	int rc = check_members(d->message, e);

	if (rc == 0)
		rc = read_recipients(d, a, &rcpts, &n, e);
	if (rc == 0)
		rc = read_format(d, &content, e);
	if (rc == 0)
		rc = credential(d, a, &token, out, e);
	if (rc != 0)
		return rc;
	content.title = member(d->message, "title");
	content.body = member(d->message, "body");
	content.short_text = member(d->message, "short");
	content.url = member(d->message, "url");
	content.image = member(d->message, "image");
	content.buttons = hm_mp_get(d->message, HM_STR("buttons"));
	content.data = hm_mp_get(d->message, HM_STR("data"));
	content.options = hm_mp_get(d->message, HM_STR("options"));
	if (hm_mp_u64(hm_mp_get(d->message, HM_STR("expires")), &expires))
		in.expires_ms = expires * 1000;
	in.lane = lane.len && hm_lane_find(lane) >= 0 ? (enum hm_lane)hm_lane_find(lane) : HM_LANE_NORMAL;
	in.credential = token;
	for (size_t i = 0; i < n && rc == 0; i += in.n_rcpts) {
		in.rcpts = rcpts + i;
		in.n_rcpts = hm_min(n - i, (size_t)info->batch_max);
		rc = put_prepare(d, &in, a, token, i == 0, out, e);
		if (rc == 0)
			rc = put_parts(d, &in, a, token, i == 0, out, e);
	}
	if (rc != 0)
		return rc;
	return out->err ? hm_err_set(e, out->err, "the requests are too long to show") : 0;
}

int hm_dryrun(const struct hm_dryrun *d, struct hm_buf *out, struct hm_err *e)
{
	struct hm_arena a;
	int rc;

	hm_arena_init(&a, NULL, 0);
	rc = requests(d, &a, out, e);
	hm_arena_fini(&a);
	return rc;
}

/* -- files ----------------------------------------------------------------------------------- */

static void resolve(struct hm_arena *a, struct hm_yaml *y, hm_report_fn report, void *arg, size_t *errors)
{
	struct hm_err e;
	bool secret;

	hm_err_clear(&e);
	if (y->type == HM_YAML_SCALAR) {
		struct hm_str text;

		if (config_resolve(a, y->text, &text, &secret, &e) == 0) {
			y->text = text;
			return;
		}
		hm_yaml_err(y, &e, HM_ECONFIG, "%s", e.text[0] ? e.text : "cannot be resolved");
		(*errors)++;
		report(arg, &e);
		return;
	}
	for (struct hm_yaml *c = y->first; c; c = c->next)
		resolve(a, c, report, arg, errors);
}

struct hm_channel_set *hm_dryrun_channel(struct hm_adapter_set *set, struct hm_str adapter, const char *file,
					 hm_report_fn report, void *arg)
{
	const struct hm_adapter *ad = hm_adapter_find(set, adapter);
	struct hm_channel_set *s = ad ? hm_channel_set_new(set, 1) : NULL;
	struct hm_yaml *root;
	struct hm_channel *c;
	size_t errors = 0;
	struct hm_err e;

	hm_err_clear(&e);
	if (s == NULL) {
		hm_err_set(&e, HM_ENOENT, "there is no adapter \"%.*s\"; hermod adapters list shows them",
			   HM_STRF(adapter));
		report(arg, &e);
		return NULL;
	}
	if (hm_yaml_read_file(&s->arena, file, &root, &e) != 0) {
		report(arg, &e);
		goto failed;
	}
	resolve(&s->arena, root, report, arg, &errors);
	if (errors)
		goto failed;
	if (root->type != HM_YAML_MAP && root->type != HM_YAML_NULL) {
		hm_yaml_err(root, &e, HM_ECONFIG, "expected the channel's settings as a map");
		report(arg, &e);
		goto failed;
	}
	c = hm_channel_load(s, HM_STR("dry-run"), ad, root, report, arg);
	if (c == NULL)
		goto failed;
	s->v[s->n++] = c;
	return s;
failed:
	hm_channel_set_unref(s);
	return NULL;
}

static bool is_number(struct hm_str s)
{
	size_t digits = 0, dots = 0;

	for (size_t i = s.len && s.p[0] == '-'; i < s.len; i++) {
		digits += s.p[i] >= '0' && s.p[i] <= '9';
		dots += s.p[i] == '.';
	}
	return digits && dots <= 1 && digits + dots + (s.p[0] == '-') == s.len && s.p[s.len - 1] != '.';
}

static void pack_yaml(const struct hm_yaml *y, struct hm_buf *out)
{
	int64_t i;

	switch (y->type) {
	case HM_YAML_NULL: hm_mp_put_nil(out); return;
	case HM_YAML_SEQ:
		hm_mp_put_array(out, (uint32_t)y->len);
		for (const struct hm_yaml *c = y->first; c; c = c->next)
			pack_yaml(c, out);
		return;
	case HM_YAML_MAP:
		hm_mp_put_map(out, (uint32_t)y->len);
		for (const struct hm_yaml *c = y->first; c; c = c->next) {
			hm_mp_put_str(out, c->key);
			pack_yaml(c, out);
		}
		return;
	case HM_YAML_SCALAR: break;
	}
	if (!y->quoted && (hm_str_is(y->text, "true") || hm_str_is(y->text, "false")))
		hm_mp_put_bool(out, y->text.len == 4);
	else if (!y->quoted && hm_str_i64(y->text, &i))
		hm_mp_put_i64(out, i);
	else if (!y->quoted && is_number(y->text))
		hm_mp_put_decimal(out, y->text);
	else
		hm_mp_put_str(out, y->text);
}

/* JSON is almost YAML, but its escapes and numbers have rules of their own: what begins with { is read as JSON. */
int hm_dryrun_message(const char *file, struct hm_buf *out, struct hm_err *e)
{
	struct hm_arena a;
	struct hm_yaml *root;
	struct hm_buf text;
	char chunk[4096];
	size_t n;
	FILE *f = fopen(file, "rb");
	int rc;

	if (f == NULL)
		return hm_err_set(e, HM_EIO, "cannot read %s: %m", file);
	hm_buf_init(&text, MAX_TEXT);
	while ((n = fread(chunk, 1, sizeof(chunk), f)) > 0)
		hm_buf_put(&text, chunk, n);
	fclose(f);
	hm_arena_init(&a, NULL, 0);
	if (text.err) {
		rc = hm_err_set(e, text.err, "%s is too large for a message", file);
	} else if (hm_str_starts(hm_str_trim(hm_buf_str(&text)), HM_STR("{"))) {
		rc = hm_json_to_msgpack(hm_buf_str(&text), out, e);
		if (rc != 0)
			snprintf(e->file, sizeof(e->file), "%s", file);
	} else {
		rc = hm_yaml_parse(&a, file, hm_buf_str(&text), &root, e);
		if (rc == 0) {
			pack_yaml(root, out);
			rc = out->err;
		}
	}
	hm_arena_fini(&a);
	hm_buf_fini(&text);
	return rc;
}

/* -- listings ---------------------------------------------------------------------------------- */

/* Beside the program when it is installed, at the root of the source tree when it was built there. */
const char *hm_adapter_dir(struct hm_str dir, char *out, size_t cap)
{
	static const char *const places[] = {"/adapters",	   "/../adapters",
					     "/../../adapters",	   "/../share/hermod/adapters",
					     "/../../../adapters", NULL};
	char exe[3000];
	ssize_t n;
	char *slash;

	if (dir.len) {
		snprintf(out, cap, "%.*s", HM_STRF(dir));
		return out;
	}
	n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	exe[n > 0 ? n : 0] = '\0';
	slash = strrchr(exe, '/');
	if (slash != NULL)
		*slash = '\0';
	for (size_t i = 0; places[i]; i++) {
		char probe[3100];

		snprintf(probe, sizeof(probe), "%s%s/push", exe, places[i]);
		if (access(probe, R_OK) == 0) {
			snprintf(out, cap, "%s%s", exe, places[i]);
			return out;
		}
	}
	snprintf(out, cap, "/usr/share/hermod/adapters");
	return out;
}

size_t hm_adapter_set_len(const struct hm_adapter_set *s)
{
	return s->n;
}

struct hm_str hm_adapter_name(const struct hm_adapter_set *s, size_t i)
{
	return s->v[i]->name;
}

struct hm_adapter_set *hm_adapter_set_of_file(const char *file, hm_report_fn report, void *arg)
{
	struct hm_adapter *ad = hm_adapter_load_file(file, report, arg);
	struct hm_adapter_set *s = ad ? calloc(1, sizeof(*s)) : NULL;

	if (s != NULL)
		s->v = calloc(1, sizeof(*s->v));
	if (s == NULL || s->v == NULL) {
		hm_adapter_unref(ad);
		free(s);
		return NULL;
	}
	s->refs = 1;
	s->v[s->n++] = ad;
	return s;
}

bool hm_adapter_check_file(const char *file, struct hm_buf *out, hm_report_fn report, void *arg)
{
	struct hm_adapter *ad = hm_adapter_load_file(file, report, arg);

	if (ad == NULL)
		return false;
	hm_buf_printf(out, "%s: %.*s, %u settings, %u outcome rows: all good\n", file, HM_STRF(ad->name),
		      ad->n_settings, ad->answer.rows.n);
	hm_adapter_unref(ad);
	return true;
}
