/*
 * build.c - a message becomes a request
 *
 * The order matters: body first, since headers and query may sign its bytes. All
 * memory is the caller's arena; what depends only on the channel was computed when
 * it was loaded.
 */
#include <stdio.h>

#include "adapter/texts.h"

#define MAX_PATH (16u << 10)
#define MAX_BODY HM_VAL_MAX_TEXT

static int no_memory(struct hm_err *e)
{
	return hm_err_set(e, HM_ENOMEM, "out of memory");
}

void hm_eval_channel(struct hm_eval *ev, const struct hm_channel *c, struct hm_arena *a, uint64_t wall_ms,
		     struct hm_err *e)
{
	memset(ev, 0, sizeof(*ev));
	ev->a = a;
	ev->settings = c->settings;
	ev->wall_ms = wall_ms;
	ev->err = e;
	ev->scheme = c->scheme;
	ev->host = c->host;
	ev->callback_url = c->callback_url;
}

static int give_lets(struct hm_eval *ev, struct hm_expr *const *let, uint32_t n)
{
	ev->let = let;
	ev->n_lets = n;
	if (n == 0)
		return 0;
	ev->let_val = hm_arena_alloc(ev->a, n * sizeof(*ev->let_val));
	ev->let_done = hm_arena_zalloc(ev->a, n);
	return ev->let_val && ev->let_done ? 0 : no_memory(ev->err);
}

/* -- folding -------------------------------------------------------------------------- */

/* No byte below 0x20 and no DEL; eight at a time, since tokens are long. */
static bool clean_header(struct hm_str v)
{
	const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
	size_t i = 0;

	for (; i + 8 <= v.len; i += 8) {
		uint64_t x, del;

		memcpy(&x, v.p + i, 8);
		del = x ^ (ones * 0x7f);
		if ((((x - ones * 0x20) & ~x) | ((del - ones) & ~del)) & high)
			break; /* perhaps: borrows may accuse a neighbour, the loop below knows */
	}
	for (; i < v.len; i++)
		if ((unsigned char)v.p[i] < 0x20 || v.p[i] == 0x7f)
			return false;
	return true;
}

/* Does the value change with every message? Then it must not push useful entries out of the HPACK table. */
static bool varies(const struct hm_eval *ev, const struct hm_expr *e)
{
	if (e->op == HM_EX_VAR) {
		switch ((enum hm_var)e->id) {
		case HM_VAR_ID:
		case HM_VAR_UUID:
		case HM_VAR_NOW:
		case HM_VAR_NOW_MS:
		case HM_VAR_NONCE:
		case HM_VAR_TO:
		case HM_VAR_USER:
		case HM_VAR_MESSAGE_ID:
		case HM_VAR_TITLE:
		case HM_VAR_BODY:
		case HM_VAR_SHORT:
		case HM_VAR_TEXT:
		case HM_VAR_EXPIRES:
		case HM_VAR_TTL:
		case HM_VAR_REQ_BODY:
		case HM_VAR_REQ_FORM:
		case HM_VAR_REQ_QUERY:
		case HM_VAR_REQ_HEADERS: return true;
		default: return false;
		}
	}
	if (e->op == HM_EX_LET)
		return e->id < ev->n_lets && varies(ev, ev->let[e->id]);
	for (uint32_t i = 0; i < e->n; i++)
		if (varies(ev, e->a[i]))
			return true;
	return false;
}

static bool node_varies(const struct hm_eval *ev, const struct hm_tree *n)
{
	if (n->tpl)
		for (uint32_t i = 0; i < n->tpl->n; i++)
			if (n->tpl->part[i].e && varies(ev, n->tpl->part[i].e))
				return true;
	for (uint32_t i = 0; i < n->n; i++)
		if (node_varies(ev, n->child[i]))
			return true;
	return false;
}

static int fold_headers(struct hm_eval *ev, struct hm_arena *a, struct hm_request *r)
{
	struct hm_tree *h = r->headers;

	r->fixed = hm_arena_zalloc(a, (h->n + 1) * sizeof(*r->fixed));
	if (r->fixed == NULL)
		return no_memory(ev->err);
	for (uint32_t i = 0; i < h->n; i++) {
		struct hm_tree *c = h->child[i];
		struct hm_header *f = &r->fixed[i];

		f->name = c->name;
		if (c->secret)
			f->flags = HM_HDR_NEVER_INDEX;
		else if (c->vary || node_varies(ev, c))
			f->flags = HM_HDR_NO_INDEX;
		if (hm_str_is(c->name, "content-type"))
			r->typed = true;
		if (c->kind != HM_TREE_LITERAL || c->cond)
			continue;
		f->value = hm_str_trim(hm_val_text(&c->val, a));
		if (!clean_header(f->value)) {
			hm_eval_fail(ev, HM_ECONFIG, "header %.*s: the value has a control character",
				     HM_STRF(c->name));
			return ev->rc;
		}
		if (f->value.p == NULL)
			f->value = HM_STR("");
	}
	return 0;
}

static bool fold_node(struct hm_eval *ev, struct hm_arena *a, struct hm_tree **n)
{
	if (*n == NULL)
		return true;
	*n = hm_tree_fold(ev, a, *n);
	return *n != NULL;
}

static bool fold_tpl(struct hm_eval *ev, struct hm_arena *a, struct hm_tpl **t)
{
	if (*t == NULL)
		return true;
	*t = hm_tpl_fold(ev, a, *t);
	return *t != NULL;
}

int hm_request_fold(struct hm_eval *ev, struct hm_arena *a, const struct hm_request *from,
		    struct hm_request *r)
{
	*r = *from;
	if (!fold_tpl(ev, a, &r->url) || !fold_tpl(ev, a, &r->path) || !fold_tpl(ev, a, &r->body_text) ||
	    !fold_tpl(ev, a, &r->wrap) || !fold_node(ev, a, &r->query) || !fold_node(ev, a, &r->headers) ||
	    !fold_node(ev, a, &r->body) || !fold_node(ev, a, &r->sign_query) ||
	    !fold_node(ev, a, &r->sign_form) || !fold_node(ev, a, &r->sign_headers) ||
	    !fold_tpl(ev, a, &r->sign_id) || !fold_tpl(ev, a, &r->sign_secret) ||
	    !fold_tpl(ev, a, &r->sign_region) || !fold_tpl(ev, a, &r->sign_service) ||
	    !fold_tpl(ev, a, &r->sign_token))
		return ev->rc ? ev->rc : HM_ENOMEM;
	return r->headers ? fold_headers(ev, a, r) : 0;
}

/* -- writing ----------------------------------------------------------------------------- */

/* Device tokens and ids need no escape: one look at a table, one copy. */
static void put_path(struct hm_buf *b, struct hm_str s)
{
	static const uint8_t plain[256] = {['-'] = 1,	      ['.'] = 1,	 ['_'] = 1,	   ['~'] = 1,
					   ['0' ... '9'] = 1, ['A' ... 'Z'] = 1, ['a' ... 'z'] = 1};
	uint8_t all = 1;

	for (size_t i = 0; i < s.len; i++)
		all &= plain[(unsigned char)s.p[i]];
	if (all)
		hm_buf_puts(b, s);
	else
		hm_buf_percent(b, s);
}

/* What the adapter's author has written into a path, also in a choice, has its slashes; a value never does. */
static void put_path_tpl(struct hm_eval *ev, const struct hm_tpl *t, struct hm_buf *out)
{
	for (uint32_t i = 0; i < t->n; i++) {
		const struct hm_tpl one = {.part = &t->part[i], .n = 1};
		const struct hm_expr *e = t->part[i].e;

		hm_eval_tpl_put(ev, &one, e && e->written ? NULL : put_path, out);
	}
}

static void put_pairs(struct hm_eval *ev, const struct hm_val *pairs, hm_escape_fn encode, struct hm_buf *out,
		      char first)
{
	for (uint32_t i = 0; i < pairs->n; i++) {
		if (first)
			hm_buf_putc(out, first);
		first = '&';
		encode(out, pairs->map[i].name);
		hm_buf_putc(out, '=');
		encode(out, hm_val_text(&pairs->map[i].v, ev->a));
	}
}

/* Quotes and line ends inside a part's names would end them early (RFC 7578 section 4.2). */
static void put_part_name(struct hm_buf *out, struct hm_str s)
{
	for (size_t i = 0; i < s.len; i++) {
		switch (s.p[i]) {
		case '"': hm_buf_lit(out, "%22"); break;
		case '\r': hm_buf_lit(out, "%0D"); break;
		case '\n': hm_buf_lit(out, "%0A"); break;
		default: hm_buf_putc(out, s.p[i]);
		}
	}
}

static struct hm_str boundary(struct hm_eval *ev)
{
	struct hm_ulid id;
	char text[HM_ULID_TEXT + 1];

	if (ev->nonce.len)
		return hm_arena_printf(ev->a, "hermod-%.*s", HM_STRF(ev->nonce));
	hm_ulid_new(&id, ev->wall_ms);
	hm_ulid_text(&id, text);
	return hm_arena_printf(ev->a, "hermod-%s", text);
}

static void multipart(struct hm_eval *ev, const struct hm_tree *n, struct hm_str mark, struct hm_buf *out)
{
	for (uint32_t i = 0; i < n->n; i++) {
		const struct hm_tree *c = n->child[i];
		struct hm_tree one = {
			.kind = HM_TREE_MAP, .child = (struct hm_tree *[]){n->child[i]}, .n = 1};
		struct hm_val pairs = hm_tree_pairs(ev, &one), v;

		for (uint32_t k = 0; k < pairs.n; k++) {
			hm_buf_lit(out, "--");
			hm_buf_puts(out, mark);
			hm_buf_lit(out, "\r\nContent-Disposition: form-data; name=\"");
			put_part_name(out, pairs.map[k].name);
			hm_buf_putc(out, '"');
			if (c->file) {
				v = hm_eval_tpl(ev, c->file);
				hm_buf_lit(out, "; filename=\"");
				put_part_name(out, hm_val_text(&v, ev->a));
				hm_buf_putc(out, '"');
			}
			if (c->mime) {
				v = hm_eval_tpl(ev, c->mime);
				hm_buf_lit(out, "\r\nContent-Type: ");
				put_part_name(out, hm_val_text(&v, ev->a));
			}
			hm_buf_lit(out, "\r\n\r\n");
			hm_buf_puts(out, hm_val_text(&pairs.map[k].v, ev->a));
			hm_buf_lit(out, "\r\n");
		}
	}
	hm_buf_lit(out, "--");
	hm_buf_puts(out, mark);
	hm_buf_lit(out, "--\r\n");
}

static struct hm_str default_type(const struct hm_request *r, struct hm_str mark, struct hm_arena *a)
{
	switch (r->body_kind) {
	case HM_BODY_JSON: return HM_STR("application/json");
	case HM_BODY_FORM: return HM_STR("application/x-www-form-urlencoded");
	case HM_BODY_XML: return HM_STR("text/xml; charset=utf-8");
	case HM_BODY_TEXT: return HM_STR("text/plain; charset=utf-8");
	case HM_BODY_MULTIPART:
		return hm_arena_printf(a, "multipart/form-data; boundary=%.*s", HM_STRF(mark));
	case HM_BODY_MIME: return HM_STR("message/rfc822");
	case HM_BODY_NONE: break;
	}
	return HM_STR("");
}

/* Encrypted, mostly: what goes out takes the place of what was written. */
static int wrap_body(struct hm_eval *ev, const struct hm_request *r, struct hm_buf *body)
{
	struct hm_val v = hm_eval_tpl(ev, r->wrap);
	struct hm_str s = hm_val_text(&v, ev->a);

	if (ev->rc)
		return ev->rc;
	hm_buf_init_arena(body, ev->a, MAX_BODY);
	hm_buf_puts(body, s);
	ev->req_body = hm_buf_str(body);
	return body->err;
}

static int put_body(struct hm_eval *ev, const struct hm_request *r, struct hm_buf *body,
		    struct hm_str *mark_r)
{
	size_t guess = 512 + ev->title.len + ev->body.len + ev->url.len;

	hm_buf_init_arena(body, ev->a, MAX_BODY);
	if (r->body_kind == HM_BODY_NONE)
		return 0;
	hm_buf_reserve(body, hm_min(guess, (size_t)MAX_BODY));
	switch (r->body_kind) {
	case HM_BODY_JSON:
		if (!hm_tree_json(ev, r->body, body))
			hm_buf_lit(body, "{}");
		break;
	case HM_BODY_FORM:
		ev->form = hm_tree_pairs(ev, r->body);
		put_pairs(ev, &ev->form, r->encode, body, '\0');
		break;
	case HM_BODY_XML: hm_eval_tpl_put(ev, r->body_text, hm_buf_xml, body); break;
	case HM_BODY_TEXT: hm_eval_tpl_put(ev, r->body_text, NULL, body); break;
	case HM_BODY_MULTIPART:
		*mark_r = boundary(ev);
		multipart(ev, r->body, *mark_r, body);
		break;
	case HM_BODY_MIME:
		if (hm_mime_body(ev, r->body, body) != 0)
			return ev->rc;
		break;
	case HM_BODY_NONE: break;
	}
	ev->req_body = hm_buf_str(body);
	if (body->err)
		return hm_err_set(ev->err, body->err, "the request body grew over %u bytes", MAX_BODY);
	return r->wrap && ev->rc == 0 ? wrap_body(ev, r, body) : ev->rc;
}

struct header_list {
	struct hm_header *v;
	size_t n, cap;
};

static int add_header(struct hm_eval *ev, struct header_list *l, struct hm_str name, struct hm_str value,
		      uint8_t flags)
{
	value = hm_str_trim(value);
	if (value.len == 0)
		return 0;
	if (!clean_header(value)) {
		hm_eval_fail(ev, HM_EINVAL, "header %.*s: the value has a control character", HM_STRF(name));
		return ev->rc;
	}
	if (l->n == l->cap) {
		struct hm_header *more = hm_arena_alloc(ev->a, (l->cap + 16) * sizeof(*more));

		if (more == NULL)
			return no_memory(ev->err);
		if (l->n)
			memcpy(more, l->v, l->n * sizeof(*more));
		l->v = more;
		l->cap += 16;
	}
	l->v[l->n++] = (struct hm_header){.name = name, .value = value, .flags = flags};
	return 0;
}

static bool has_header(const struct header_list *l, struct hm_str name)
{
	for (size_t i = 0; i < l->n; i++)
		if (hm_str_eq(l->v[i].name, name))
			return true;
	return false;
}

/* Members of a tree as headers; written ones win over merged ones. Names from data (settings.headers) are checked like ours. */
static int add_pairs(struct hm_eval *ev, struct header_list *l, const struct hm_tree *n, uint8_t flags)
{
	struct hm_val pairs = hm_tree_pairs(ev, n);

	for (uint32_t i = 0; i < pairs.n && ev->rc == 0; i++) {
		char *low = hm_arena_alloc(ev->a, pairs.map[i].name.len + 1);
		struct hm_str name;

		if (low == NULL)
			return no_memory(ev->err);
		for (size_t k = 0; k < pairs.map[i].name.len; k++) {
			char c = pairs.map[i].name.p[k];

			if ((unsigned char)c <= 0x20 || c == ':' || (unsigned char)c >= 0x7f) {
				hm_eval_fail(ev, HM_EINVAL, "\"%.*s\" is not a header name",
					     HM_STRF(pairs.map[i].name));
				return ev->rc;
			}
			low[k] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
		}
		name = hm_str_n(low, pairs.map[i].name.len);
		if (!has_header(l, name) &&
		    add_header(ev, l, name, hm_val_text(&pairs.map[i].v, ev->a), flags) != 0)
			return ev->rc ? ev->rc : HM_ENOMEM;
	}
	return ev->rc;
}

/* request.headers for signatures: what is there so far, and host. */
static void header_pairs(struct hm_eval *ev, const struct header_list *l)
{
	struct hm_pair *p = hm_arena_alloc(ev->a, (l->n + 1) * sizeof(*p));

	if (p == NULL)
		return;
	p[0] = (struct hm_pair){.name = HM_STR("host"), .v = hm_val_str(ev->host)};
	for (size_t i = 0; i < l->n; i++)
		p[i + 1] = (struct hm_pair){.name = l->v[i].name, .v = hm_val_str(l->v[i].value)};
	ev->headers = (struct hm_val){.t = HM_V_MAP, .n = (uint32_t)l->n + 1, .map = p};
}

static struct hm_str part_text(struct hm_eval *ev, const struct hm_tpl *t)
{
	struct hm_val v = t ? hm_eval_tpl(ev, t) : HM_NONE;

	return hm_val_text(&v, ev->a);
}

/* sign.scheme: over everything that is there by now. */
static int add_scheme(struct hm_eval *ev, const struct hm_request *r, struct header_list *l,
		      struct hm_str target)
{
	struct hm_canon_header *h = hm_arena_alloc(ev->a, (l->n + 1) * sizeof(*h));
	struct hm_expr nonce = {.op = HM_EX_VAR, .id = HM_VAR_NONCE};
	struct hm_canon_in in = {.scheme = r->scheme,
				 .id = part_text(ev, r->sign_id),
				 .secret = part_text(ev, r->sign_secret),
				 .region = part_text(ev, r->sign_region),
				 .service = part_text(ev, r->sign_service),
				 .token = part_text(ev, r->sign_token),
				 .method = r->method,
				 .host = ev->host,
				 .target = target,
				 .body = ev->req_body,
				 .wall_ms = ev->wall_ms,
				 .headers = h,
				 .n_headers = l->n};
	struct hm_val v = hm_eval(ev, &nonce);
	struct hm_canon_out out;
	int rc;

	in.nonce = hm_val_text(&v, ev->a);
	if (h == NULL)
		return no_memory(ev->err);
	for (size_t i = 0; i < l->n; i++)
		h[i] = (struct hm_canon_header){l->v[i].name, l->v[i].value};
	if (ev->rc)
		return ev->rc;
	rc = hm_canon_sign(&in, ev->a, &out, ev->err);
	for (size_t i = 0; rc == 0 && i < out.n; i++)
		rc = add_header(ev, l, out.add[i].name, out.add[i].value, HM_HDR_NO_INDEX);
	return rc;
}

static int put_headers(struct hm_eval *ev, const struct hm_request *r, struct hm_str mark,
		       struct hm_str target, struct hm_call *call)
{
	struct header_list l = {0};
	struct hm_val v;
	int rc = 0;

	l.cap = (r->headers ? r->headers->n : 0) + 4;
	l.v = hm_arena_alloc(ev->a, l.cap * sizeof(*l.v));
	if (l.v == NULL)
		return no_memory(ev->err);
	if (r->body_kind != HM_BODY_NONE && !r->typed)
		l.v[l.n++] = (struct hm_header){.name = HM_STR("content-type"),
						.value = default_type(r, mark, ev->a)};
	for (uint32_t i = 0; r->headers && i < r->headers->n; i++) {
		const struct hm_tree *c = r->headers->child[i];

		if (r->fixed[i].value.p != NULL) {
			if (r->fixed[i].value.len)
				l.v[l.n++] = r->fixed[i];
			continue;
		}
		if (c->cond) {
			v = hm_eval(ev, c->cond);
			if (!hm_val_true(&v))
				continue;
		}
		v = hm_tree_value(ev, c);
		if (v.t == HM_V_NONE)
			continue;
		rc = add_header(ev, &l, c->name, hm_val_text(&v, ev->a), r->fixed[i].flags);
		if (rc != 0)
			return rc;
	}
	if (r->headers && r->headers->n_merge) {
		struct hm_tree rest = *r->headers; /* $merge only; the named ones are done */

		rest.except = NULL;
		rest.n_except = 0;
		rest.n = 0;
		rc = add_pairs(ev, &l, &rest, 0);
	}
	if (rc == 0 && r->sign_headers) {
		header_pairs(ev, &l);
		rc = add_pairs(ev, &l, r->sign_headers, HM_HDR_NO_INDEX);
	}
	if (rc == 0 && r->scheme != HM_CANON_NONE)
		rc = add_scheme(ev, r, &l, target);
	call->headers = l.v;
	call->n_headers = l.n;
	return rc ? rc : ev->rc;
}

int hm_request_build(struct hm_eval *ev, const struct hm_request *r, struct hm_str base_path,
		     struct hm_call *call)
{
	struct hm_str mark = HM_STR("");
	struct hm_buf path, body;
	struct hm_val pairs;
	int rc;

	ev->method = r->method;
	hm_buf_init_arena(&path, ev->a, MAX_PATH);
	hm_buf_reserve(&path, 192);
	hm_buf_puts(&path, base_path);
	if (r->path)
		put_path_tpl(ev, r->path, &path);
	if (path.err == 0 && (path.len == 0 || path.p[0] != '/')) {
		hm_buf_reset(&path);
		hm_buf_putc(&path, '/');
		hm_buf_puts(&path, base_path);
		if (r->path)
			put_path_tpl(ev, r->path, &path);
	}
	ev->path = hm_buf_str(&path);
	rc = put_body(ev, r, &body, &mark);
	if (rc != 0)
		return rc;
	if (r->query)
		ev->query = hm_tree_pairs(ev, r->query);
	if (r->sign_form) {
		pairs = hm_tree_pairs(ev, r->sign_form);
		put_pairs(ev, &pairs, r->encode, &body, body.len ? '&' : '\0');
		ev->req_body = hm_buf_str(&body);
	}
	if (r->query || r->sign_query) {
		char first = hm_str_chr(ev->path, '?') >= 0 ? '&' : '?';

		if (r->query && ev->query.n) {
			put_pairs(ev, &ev->query, hm_buf_percent, &path, first);
			first = '&';
		}
		if (r->sign_query) {
			pairs = hm_tree_pairs(ev, r->sign_query);
			put_pairs(ev, &pairs, hm_buf_percent, &path, first);
		}
	}
	rc = put_headers(ev, r, mark, hm_buf_str(&path), call);
	if (rc == 0 && (path.err || body.err))
		rc = hm_err_set(ev->err, path.err ? path.err : body.err, "the request is too long");
	call->method = r->method;
	call->path = hm_buf_str(&path);
	call->body = hm_buf_str(&body);
	return rc ? rc : ev->rc;
}

/* -- a message ------------------------------------------------------------------------------- */

static int check_address(const struct hm_address *ad, struct hm_str addr, struct hm_err *e)
{
	bool ok = addr.len >= ad->min && addr.len <= ad->max;

	for (size_t i = 0; ok && i < addr.len; i++) {
		unsigned char c = (unsigned char)addr.p[i];

		ok = (ad->chars[c / 8] >> c % 8) & 1;
	}
	if (ok)
		return 0;
	hm_err_set(e, HM_EINVAL, "the address is not %.*s", HM_STRF(ad->what));
	hm_err_field(e, "to");
	return HM_EINVAL;
}

/* One pass over the options given; unknown names are for other media and harmless. */
static uint64_t fill_options(const struct hm_names *names, const msgpack_object *options, struct hm_val *slot)
{
	uint64_t present = 0;

	for (uint32_t i = 0; i < names->n_options; i++)
		slot[i] = HM_NONE;
	for (uint32_t k = 0; k < options->via.map.size; k++) {
		const msgpack_object_kv *kv = &options->via.map.ptr[k];
		struct hm_str name;

		if (kv->key.type != MSGPACK_OBJECT_STR)
			continue;
		name = hm_str_n(kv->key.via.str.ptr, kv->key.via.str.size);
		for (uint32_t i = 0; i < names->n_options; i++)
			if (hm_str_eq(names->options[i], name)) {
				slot[i] = hm_val_of_object(&kv->val);
				if (slot[i].t != HM_V_NONE)
					present |= 1ull << i;
			}
	}
	return present;
}

static int apply_checks(struct hm_eval *ev, const struct hm_variant *c, enum hm_outcome *outcome_r)
{
	for (uint32_t i = 0; i < c->n_checks; i++) {
		struct hm_val v;
		struct hm_str say;

		if (ev->in->sample && c->checks[i].outcome == HM_OUT_INVALID_RECIPIENT)
			continue;
		v = hm_eval(ev, c->checks[i].when);
		if (ev->rc != 0) /* a text that was refused is no missing text */
			return ev->rc;
		if (!hm_val_true(&v))
			continue;
		v = hm_eval_tpl(ev, c->checks[i].say);
		say = hm_val_text(&v, ev->a);
		*outcome_r = c->checks[i].outcome;
		return hm_err_set(ev->err, HM_EINVAL, "%.*s", (int)hm_min(say.len, 250u),
				  say.len ? say.p : "");
	}
	return ev->rc;
}

static bool host_allowed(const struct hm_adapter *ad, struct hm_str host)
{
	for (uint32_t i = 0; i < ad->n_allow_hosts; i++) {
		struct hm_str p = ad->allow_hosts[i];

		if (p.len > 1 && p.p[0] == '*') {
			struct hm_str tail = hm_str_n(p.p + 1, p.len - 1);

			if (host.len > tail.len &&
			    hm_str_ieq(hm_str_n(host.p + host.len - tail.len, tail.len), tail))
				return true;
		} else if (hm_str_ieq(p, host)) {
			return true;
		}
	}
	return ad->n_allow_hosts == 0;
}

/* The recipient is the URL: nothing in it is trusted. */
static int url_recipient(struct hm_eval *ev, const struct hm_channel *c, struct hm_str *base_r,
			 struct hm_origin_opts *origin_r, struct hm_err *e)
{
	struct hm_str url = ev->in->rcpts[0].addr, authority;
	struct hm_val in_address;
	struct hm_origin_opts o = c->info.origin;
	ptrdiff_t start, end;

	if (c->ad->recipient_url) {
		in_address = hm_eval(ev, c->ad->recipient_url);
		if (in_address.t != HM_V_STR && in_address.t != HM_V_JSON)
			return hm_err_set(e, HM_EINVAL, "the address is not %.*s",
					  HM_STRF(c->ad->address.what));
		url = hm_val_text(&in_address, ev->a);
	}
	for (size_t i = 0; i < url.len; i++)
		if ((unsigned char)url.p[i] <= 0x20 || (unsigned char)url.p[i] >= 0x7f)
			return hm_err_set(e, HM_EINVAL,
					  "the address is not a URL (blank, control or non-ASCII character)");
	start = hm_str_find(url, HM_STR("://"));
	if (start < 0)
		return hm_err_set(e, HM_EINVAL, "the address is not a URL");
	authority = hm_str_n(url.p + start + 3, url.len - (size_t)start - 3);
	for (end = 0; (size_t)end < authority.len && strchr("/?#", authority.p[end]) == NULL; end++)
		;
	authority.len = (size_t)end;
	if (hm_str_chr(authority, '@') >= 0)
		return hm_err_set(e, HM_EINVAL, "the address has a user name in its URL");
	if (hm_wire_parse_url(url, &o, base_r, e) != 0)
		return HM_EINVAL;
	if (c->https_only && !o.tls)
		return hm_err_set(e, HM_EINVAL, "the address must begin with https://");
	if (!ev->in->sample && !host_allowed(c->ad, o.host))
		return hm_err_set(e, HM_EINVAL, "the host of the address is not one of this provider's");
	start = hm_str_chr(*base_r, '#');
	if (start >= 0)
		base_r->len = (size_t)start;
	ev->scheme = o.tls ? HM_STR("https") : HM_STR("http");
	ev->host = authority;
	*origin_r = o;
	return 0;
}

/* The request, with a payload the provider takes. A text that is too long for it gives way where the adapter says so. */
static int build_within(struct hm_eval *ev, const struct hm_variant *form, struct hm_str base,
			struct hm_call *call)
{
	size_t limit = 0;
	struct hm_val v;
	int64_t max;
	int rc;

	for (int round = 0;; round++) {
		rc = hm_request_build(ev, &form->send, base, call);
		if (rc != 0 || form->payload_bytes == NULL)
			break;
		v = hm_eval(ev, form->payload_bytes);
		if (!hm_val_int_of(&v, &max) || max < 0)
			break;
		limit = (size_t)max;
		if (hm_likely(call->body.len <= limit))
			break;
		/* Once is enough where a byte of text costs what it seems to; JSON inside JSON takes more. */
		if (ev->texts->c->ad->payload_cut && round < 8 &&
		    hm_texts_shrink(ev, call->body.len, limit, form->send.body_kind))
			continue;
		if (ev->rc)
			return ev->rc;
		hm_err_set(ev->err, HM_EINVAL, "the payload has %zu bytes, at most %zu are allowed",
			   call->body.len, limit);
		hm_err_field(ev->err, "body");
		return ev->rc = HM_EINVAL;
	}
	if (ev->in->report && rc == 0 && ev->rc == 0)
		hm_texts_report(ev, call->body.len, limit);
	return rc ? rc : ev->rc;
}

/* What is wanted of a message. */
struct wanted {
	struct hm_call *call;
	struct hm_origin_opts *origin_r;
	bool prepare; /* the request before it, and: */
	struct hm_str key;
};

static int build_wanted(struct hm_eval *ev, const struct hm_variant *form, struct hm_str base,
			struct wanted *w)
{
	struct hm_val v;

	if (!w->prepare)
		return build_within(ev, form, base, w->call);
	v = form->prepare_when ? hm_eval(ev, form->prepare_when) : hm_val_bool(true);
	if (ev->rc || !hm_val_true(&v))
		return ev->rc;
	w->key = part_text(ev, form->prepare_key);
	if (ev->rc == 0 && w->key.len == 0)
		hm_eval_fail(ev, HM_EINVAL, "prepare: the key is empty");
	return ev->rc || w->call == NULL ? ev->rc : hm_request_build(ev, &form->prepare, base, w->call);
}

static int build(const struct hm_build_in *in, struct hm_arena *a, struct wanted *w,
		 enum hm_outcome *outcome_r, struct hm_err *e)
{
	const struct hm_channel *c = in->channel;
	const msgpack_object *options = in->content->options;
	const struct hm_variant *form = &c->full;
	struct hm_str base = c->base_path;
	struct hm_err unused;
	struct hm_eval ev;
	struct hm_texts texts;
	struct hm_val opt[64];
	int rc;

	HM_CHECK(c, HM_CHANNEL_MAGIC);
	if (e == NULL)
		e = &unused;
	hm_err_clear(e);
	*outcome_r = HM_OUT_INVALID_RECIPIENT;
	if (in->n_rcpts == 0 || in->n_rcpts > c->info.batch_max)
		return hm_err_set(e, HM_EINVAL, "%zu recipients, between 1 and %u are possible", in->n_rcpts,
				  c->info.batch_max);
	if (c->ad->address.any && !in->sample)
		for (size_t i = 0; i < in->n_rcpts; i++)
			if ((rc = check_address(&c->ad->address, in->rcpts[i].addr, e)) != 0)
				return rc;
	hm_eval_channel(&ev, c, a, in->wall_ms, e);
	ev.in = in;
	ev.nonce = in->nonce;
	ev.credential = in->credential;
	if (options == NULL || options->type != MSGPACK_OBJECT_MAP || options->via.map.size == 0) {
		form = &c->plain;
	} else {
		uint64_t present = fill_options(&c->ad->names, options, opt);

		ev.opt = opt;
		ev.n_opt = c->ad->names.n_options;
		form = present ? hm_channel_variant(c, present) : &c->full;
	}
	if (c->info.recipient_is_url && (rc = url_recipient(&ev, c, &base, w->origin_r, e)) != 0)
		return rc;
	*outcome_r = HM_OUT_BAD_REQUEST;
	if ((rc = give_lets(&ev, form->let, form->n_lets)) != 0 ||
	    (rc = hm_texts_begin(&ev, &texts, c, form)) != 0 ||
	    (rc = apply_checks(&ev, form, outcome_r)) != 0 || (rc = build_wanted(&ev, form, base, w)) != 0)
		goto failed;
	if (!w->prepare && (in->part || in->parts_r) && (rc = hm_texts_parts(&ev)) != 0)
		goto failed;
	rc = ev.rc;
	/* A text that found no memory is empty, and an empty header is left out: such a request is not the one that was meant. */
	if (rc == 0 && a->failed)
		rc = no_memory(e);
	if (rc == 0)
		return 0;
failed:
	if (a->failed)
		rc = no_memory(e);
	if (rc == HM_ENOMEM)
		*outcome_r = HM_OUT_RETRY; /* nothing is wrong with the message */
	else if (strcmp(e->field, "to") == 0)
		*outcome_r = HM_OUT_INVALID_RECIPIENT; /* keys of a subscription that are none */
	return rc == HM_ENOMEM ? rc : HM_EINVAL;
}

int hm_channel_build(const struct hm_build_in *in, struct hm_arena *a, struct hm_call *call,
		     struct hm_origin_opts *origin_r, enum hm_outcome *outcome_r, struct hm_err *e)
{
	struct wanted w = {.call = call, .origin_r = origin_r};

	return build(in, a, &w, outcome_r, e);
}

int hm_channel_prepare(const struct hm_build_in *in, struct hm_arena *a, struct hm_call *call,
		       struct hm_str *key_r, uint64_t *keep_ms_r, enum hm_outcome *outcome_r,
		       struct hm_err *e)
{
	struct wanted w = {.call = call, .prepare = true};
	int rc = 0;

	*keep_ms_r = in->channel->ad->prepare.keep_ms;
	if (in->channel->info.prepares)
		rc = build(in, a, &w, outcome_r, e);
	*key_r = w.key;
	return rc;
}

int hm_channel_token_eval(struct hm_eval *ev, const struct hm_channel *c, struct hm_arena *a,
			  uint64_t wall_ms, struct hm_str nonce, struct hm_err *e)
{
	hm_eval_channel(ev, c, a, wall_ms, e);
	ev->nonce = nonce;
	return give_lets(ev, c->cred_let, c->n_cred_lets);
}
