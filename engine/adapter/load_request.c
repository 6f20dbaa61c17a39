/*
 * load_request.c - the section request: method, path, query, headers, body, sign
 *
 * The same reader serves the token request of a credential. Trees keep the shape of
 * the YAML; members that begin with $ are instructions:
 *
 *   $if: expr            the map is there only if
 *   $merge: expr|[...]   members of these maps follow (written members win)
 *   $except: [names]     which $merge leaves out
 *   $keep: true          stays when it is empty
 *   $each/$key/$value    an array (or, with $key, members) from a list
 *   $json: tree          a text that holds this JSON
 *   $choose: [maps]      the first whose $if holds; each has $value or is a tree itself
 *   $index: false        a header whose value is new each time (HPACK: not put into the table)
 *   $value               a leaf together with $if, $keep, $file, $type
 */
#include <stdio.h>

#include "adapter/model.h"

static struct hm_expr *expr_at(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p)
{
	struct hm_expr *r = NULL;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_expr_parse(p, y, &r, &e) != 0) {
		hm_load_error(l, &e);
		return NULL;
	}
	return r;
}

static struct hm_tpl *tpl_at(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p)
{
	struct hm_tpl *r = NULL;
	struct hm_err e;

	hm_err_clear(&e);
	if (hm_tpl_parse(p, y, &r, &e) != 0) {
		hm_load_error(l, &e);
		return NULL;
	}
	return r;
}

/* A plain YAML scalar that JSON would not quote. */
static bool bare_json(const struct hm_yaml *y)
{
	struct hm_str s = y->text;
	size_t i = 0, digits = 0;
	bool dot = false;

	if (y->quoted || s.len == 0 || s.len > 30)
		return false;
	if (hm_str_is(s, "true") || hm_str_is(s, "false"))
		return true;
	if (s.p[0] == '-')
		i++;
	if (i + 1 < s.len && s.p[i] == '0' && s.p[i + 1] != '.')
		return false; /* 0123 is text */
	for (; i < s.len; i++) {
		if (s.p[i] >= '0' && s.p[i] <= '9')
			digits++;
		else if (s.p[i] == '.' && !dot && digits && i + 1 < s.len)
			dot = true;
		else
			return false;
	}
	return digits > 0;
}

static void load_scalar(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
			struct hm_tree *n)
{
	int64_t i;

	if (bare_json(y)) {
		n->kind = HM_TREE_LITERAL;
		n->json = y->text;
		if (hm_str_i64(y->text, &i))
			n->val = hm_val_int(i);
		else if (hm_str_is(y->text, "true") || hm_str_is(y->text, "false"))
			n->val = hm_val_bool(y->text.len == 4);
		else
			n->val = hm_val_str(y->text);
		return;
	}
	n->kind = HM_TREE_TEXT;
	n->tpl = tpl_at(l, y, p);
	if (n->tpl)
		n->secret = n->tpl->secret;
	else
		n->kind = HM_TREE_ABSENT;
}

static void load_name(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
		      struct hm_tree *n)
{
	struct hm_yaml as_scalar = *y;
	struct hm_buf b;

	n->name = y->key;
	if (hm_str_find(y->key, HM_STR("${")) >= 0) {
		as_scalar.type = HM_YAML_SCALAR;
		as_scalar.text = y->key;
		as_scalar.quoted = false;
		as_scalar.line = y->key_line;
		as_scalar.col = y->key_col;
		n->name_tpl = tpl_at(l, &as_scalar, p);
		return;
	}
	hm_buf_init_arena(&b, p->a, 64 << 10);
	hm_buf_putc(&b, '"');
	hm_buf_json(&b, y->key);
	hm_buf_lit(&b, "\":");
	n->key = hm_buf_str(&b);
}

static void load_merge(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
		       struct hm_tree *n)
{
	const struct hm_yaml *c = y->type == HM_YAML_SEQ ? y->first : y;
	size_t count = y->type == HM_YAML_SEQ ? y->len : 1;

	n->merge = hm_load_alloc(l, count * sizeof(*n->merge));
	for (; c && n->merge; c = y->type == HM_YAML_SEQ ? c->next : NULL) {
		struct hm_expr *e = expr_at(l, c, p);

		if (e)
			n->merge[n->n_merge++] = e;
	}
}

static void load_except(struct hm_loader *l, const struct hm_yaml *y, struct hm_tree *n)
{
	n->except = hm_load_alloc(l, (y->len + 1) * sizeof(*n->except));
	for (const struct hm_yaml *c = y->first; c && n->except; c = c->next)
		if (c->type == HM_YAML_SCALAR)
			n->except[n->n_except++] = c->text;
}

static const char *const words[] = {"$if",   "$merge",	"$except", "$keep", "$each",  "$key", "$value",
				    "$json", "$choose", "$file",   "$type", "$index", NULL};

static bool is_word(struct hm_loader *l, const struct hm_yaml *y)
{
	struct hm_err e;

	if (y->key.len < 2 || y->key.p[0] != '$' || y->key.p[1] == '{' || y->key.p[1] == '$')
		return false;
	for (size_t i = 0; words[i]; i++)
		if (hm_str_is(y->key, words[i]))
			return true;
	hm_err_clear(&e);
	hm_err_at(&e, HM_ECONFIG, y->file, y->key_line, y->key_col,
		  "\"%.*s\" is no instruction; known are $if $merge $except $keep $each $key $value $json "
		  "$choose "
		  "$file $type $index",
		  HM_STRF(y->key));
	hm_load_error(l, &e);
	return true;
}

/* $schema and the like are members, not instructions: written "$$schema". */
static struct hm_str unescape_key(struct hm_str k)
{
	if (k.len > 2 && k.p[0] == '$' && k.p[1] == '$')
		return hm_str_n(k.p + 1, k.len - 1);
	return k;
}

static void add_child(struct hm_tree *n, struct hm_tree *c)
{
	if (c != NULL) {
		n->child[n->n++] = c;
		n->secret |= c->secret;
	}
}

static void load_choose(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
			struct hm_tree *n)
{
	n->kind = HM_TREE_CHOOSE;
	if (y->type != HM_YAML_SEQ) {
		hm_load_fail(l, y, "%s: $choose expects a list of maps with $if", p->where);
		return;
	}
	n->child = hm_load_alloc(l, y->len * sizeof(*n->child));
	for (const struct hm_yaml *c = y->first; c && n->child; c = c->next)
		add_child(n, hm_load_tree(l, c, p));
}

static void load_map(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
		     struct hm_tree *n)
{
	const struct hm_yaml *value = hm_yaml_get(y, "$value"), *each = hm_yaml_get(y, "$each"),
			     *json = hm_yaml_get(y, "$json"), *choose = hm_yaml_get(y, "$choose"), *w;
	struct hm_parse inner = *p;
	struct hm_str name = n->name, key = n->key;
	struct hm_tpl *name_tpl = n->name_tpl;

	if (value && !each) { /* a leaf with instructions: read the leaf into this node */
		struct hm_tree *v = hm_load_tree(l, value, p);

		if (v == NULL)
			return;
		*n = *v;
		n->name = name;
		n->key = key;
		n->name_tpl = name_tpl;
	} else if (each) {
		n->kind = HM_TREE_EACH;
		n->list = expr_at(l, each, p);
		inner.allowed |= HM_AT_L;
		if ((w = hm_yaml_get(y, "$key")))
			n->each_key = tpl_at(l, w, &inner);
		n->child = hm_load_alloc(l, sizeof(*n->child));
		if (value && n->child)
			add_child(n, hm_load_tree(l, value, &inner));
		if (n->n == 0 || n->list == NULL)
			hm_load_fail(l, y, "%s: $each needs $value (what each element becomes)", p->where);
	} else if (json) {
		n->kind = HM_TREE_JSON;
		n->child = hm_load_alloc(l, sizeof(*n->child));
		if (n->child)
			add_child(n, hm_load_tree(l, json, p));
	} else if (choose) {
		load_choose(l, choose, p, n);
	} else {
		n->kind = HM_TREE_MAP;
		n->keep = y->len == 0; /* {} stays {} */
	}
	for (const struct hm_yaml *c = y->first; c; c = c->next)
		if (is_word(l, c) && n->kind != HM_TREE_MAP)
			continue;
	if (n->kind == HM_TREE_MAP && !value) {
		n->child = hm_load_alloc(l, y->len * sizeof(*n->child));
		for (const struct hm_yaml *c = y->first; c && n->child; c = c->next) {
			struct hm_yaml plain = *c;
			struct hm_tree *k;

			if (c->key.len > 1 && c->key.p[0] == '$' && c->key.p[1] != '{' && c->key.p[1] != '$')
				continue;
			plain.key = unescape_key(c->key);
			if ((k = hm_load_tree(l, c, p)) == NULL)
				continue;
			load_name(l, &plain, p, k);
			add_child(n, k);
		}
	} else if (!value || each) {
		for (const struct hm_yaml *c = y->first; c; c = c->next)
			if (c->key.len && c->key.p[0] != '$')
				hm_load_fail(l, c, "%s: \"%.*s\" cannot stand beside %s", p->where,
					     HM_STRF(c->key),
					     each   ? "$each"
					     : json ? "$json"
						    : "$choose");
	}
	if ((w = hm_yaml_get(y, "$if")))
		n->cond = expr_at(l, w, p);
	if ((w = hm_yaml_get(y, "$merge")))
		load_merge(l, w, p, n);
	if ((w = hm_yaml_get(y, "$except")))
		load_except(l, w, n);
	if (hm_yaml_get(y, "$keep"))
		n->keep = hm_load_bool(l, y, "$keep", false);
	n->vary = !hm_load_bool(l, y, "$index", true);
	n->file = hm_load_tpl(l, y, "$file", p);
	n->mime = hm_load_tpl(l, y, "$type", p);
}

struct hm_tree *hm_load_tree(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p)
{
	struct hm_tree *n = hm_load_alloc(l, sizeof(*n));

	if (n == NULL)
		return NULL;
	switch (y->type) {
	case HM_YAML_NULL:
		n->kind = HM_TREE_LITERAL;
		n->json = HM_STR("null");
		break;
	case HM_YAML_SCALAR: load_scalar(l, y, p, n); break;
	case HM_YAML_SEQ:
		n->kind = HM_TREE_SEQ;
		n->seq = true;
		n->keep = y->len == 0;
		n->child = hm_load_alloc(l, y->len * sizeof(*n->child));
		for (const struct hm_yaml *c = y->first; c && n->child; c = c->next)
			add_child(n, hm_load_tree(l, c, p));
		break;
	case HM_YAML_MAP: load_map(l, y, p, n); break;
	}
	return n;
}

/* -- the section ------------------------------------------------------------------- */

static struct hm_tree *params(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p)
{
	if (y == NULL)
		return NULL;
	if (y->type != HM_YAML_MAP) {
		hm_load_fail(l, y, "%s: expected a map of names and values", p->where);
		return NULL;
	}
	return hm_load_tree(l, y, p);
}

/* Header names go out in lower case (RFC 9113 section 8.2.1) and are tokens. */
static void check_headers(struct hm_loader *l, const struct hm_yaml *y, struct hm_tree *n)
{
	for (uint32_t i = 0; n && i < n->n; i++) {
		struct hm_str name = n->child[i]->name;
		char *low = hm_load_alloc(l, name.len);

		if (low == NULL)
			return;
		for (size_t k = 0; k < name.len; k++) {
			char c = name.p[k];
			bool token = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
				     (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';

			if (!token) {
				hm_load_fail(l, y, "headers: \"%.*s\" is not a header name", HM_STRF(name));
				return;
			}
			low[k] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
		}
		n->child[i]->name = hm_str_n(low, name.len);
	}
}

/* A mail: mail/mime.h says what becomes of the fields. */
static struct hm_tree *load_mime(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p)
{
	static const char *const keys[] = {"from",    "from_name", "to",	  "to_name", "reply_to",
					   "subject", "date",	   "text",	  "html",    "message_id",
					   "headers", "dkim",	   "attachments", NULL};
	static const char *const dkim[] = {"domain", "selector", "key", NULL};

	if (!hm_load_known(l, y, "request.mime", keys) ||
	    (hm_yaml_get(y, "dkim") && !hm_load_known(l, hm_yaml_get(y, "dkim"), "request.mime.dkim", dkim)))
		return NULL;
	return params(l, y, p);
}

static void load_body(struct hm_loader *l, const struct hm_yaml *map, const struct hm_parse *p,
		      struct hm_request *r)
{
	static const struct {
		const char *key;
		enum hm_body_kind kind;
	} kinds[] = {{"json", HM_BODY_JSON}, {"form", HM_BODY_FORM},	       {"xml", HM_BODY_XML},
		     {"text", HM_BODY_TEXT}, {"multipart", HM_BODY_MULTIPART}, {"mime", HM_BODY_MIME}};
	const struct hm_yaml *y;

	for (size_t i = 0; i < hm_countof(kinds); i++) {
		if ((y = hm_yaml_get(map, kinds[i].key)) == NULL)
			continue;
		if (r->body_kind != HM_BODY_NONE)
			hm_load_fail(l, y, "%s: a request has one body; there is already another", p->where);
		r->body_kind = kinds[i].kind;
		if (kinds[i].kind == HM_BODY_JSON)
			r->body = hm_load_tree(l, y, p);
		else if (kinds[i].kind == HM_BODY_FORM || kinds[i].kind == HM_BODY_MULTIPART)
			r->body = params(l, y, p);
		else if (kinds[i].kind == HM_BODY_MIME)
			r->body = load_mime(l, y, p);
		else
			r->body_text = tpl_at(l, y, p);
	}
}

/* One of the schemes of canonical.h. */
static void load_scheme(struct hm_loader *l, const struct hm_yaml *y, const struct hm_parse *p,
			struct hm_request *r)
{
	const struct hm_yaml *s = hm_yaml_get(y, "scheme");
	int i;

	r->sign_id = hm_load_tpl(l, y, "id", p);
	r->sign_secret = hm_load_tpl(l, y, "secret", p);
	r->sign_region = hm_load_tpl(l, y, "region", p);
	r->sign_service = hm_load_tpl(l, y, "service", p);
	r->sign_token = hm_load_tpl(l, y, "token", p);
	if (s == NULL) {
		if (r->sign_id || r->sign_secret || r->sign_region || r->sign_service || r->sign_token)
			hm_load_fail(
				l, y,
				"request.sign: id, secret, region, service and token belong to a scheme");
		return;
	}
	i = hm_load_choice(l, s, "request.sign.scheme", hm_canon_names());
	if (i < 0)
		return;
	r->scheme = (enum hm_canon_scheme)(i + 1);
	if (r->sign_id == NULL || r->sign_secret == NULL)
		hm_load_fail(l, y, "request.sign: a scheme needs id and secret");
	if (hm_canon_scoped(r->scheme) && r->sign_service == NULL)
		hm_load_fail(l, y, "request.sign: this scheme needs service");
	if (hm_canon_region(r->scheme) && r->sign_region == NULL)
		hm_load_fail(l, y, "request.sign: this scheme needs region");
}

static void load_sign(struct hm_loader *l, const struct hm_yaml *map, const struct hm_parse *after,
		      struct hm_request *r)
{
	static const char *const keys[] = {"query",  "form",   "headers", "scheme", "id",
					   "secret", "region", "service", "token",  NULL};
	const struct hm_yaml *y = hm_yaml_get(map, "sign");

	if (y == NULL || !hm_load_known(l, y, "request.sign", keys))
		return;
	r->sign_query = params(l, hm_yaml_get(y, "query"), after);
	r->sign_form = params(l, hm_yaml_get(y, "form"), after);
	r->sign_headers = params(l, hm_yaml_get(y, "headers"), after);
	check_headers(l, y, r->sign_headers);
	load_scheme(l, y, after, r);
	if (r->sign_form && r->body_kind != HM_BODY_FORM)
		hm_load_fail(l, y, "request.sign.form needs a form body");
}

void hm_load_request(struct hm_loader *l, const struct hm_yaml *map, const struct hm_scope_of *in, bool token,
		     struct hm_request *r)
{
	static const char *const keys[] = {"method", "url",	 "path", "query", "headers",
					   "json",   "form",	 "xml",	 "text",  "multipart",
					   "mime",   "encoding", "sign", "wrap",  NULL};
	static const char *const methods[] = {"POST",
					      "GET",
					      "PUT",
					      "PATCH",
					      "DELETE",
					      /* of other protocols */ "SEND",
					      "SUBMIT",
					      "PUBLISH",
					      NULL};
	static const char *const encodings[] = {"form", "rfc3986", NULL};
	struct hm_parse p = {
		.a = &l->ad->arena, .names = in->names, .allowed = in->allowed, .where = in->where};
	struct hm_parse after = p;
	const struct hm_yaml *y;
	int i;

	if (!hm_load_known(l, map, in->where, keys))
		return;
	after.allowed |= HM_AT_R;
	r->method = HM_STR("POST");
	if ((y = hm_yaml_get(map, "method")) && (i = hm_load_choice(l, y, "method", methods)) >= 0)
		r->method = hm_str_c(methods[i]);
	r->url = hm_load_tpl(l, map, "url", &p);
	r->path = hm_load_tpl(l, map, "path", &p);
	if (r->url && !token)
		hm_load_fail(l, hm_yaml_get(map, "url"),
			     "request.url: the host belongs to endpoint.url; here stands path");
	if (r->url && r->path)
		hm_load_fail(l, hm_yaml_get(map, "url"), "%s: either url or path", in->where);
	r->encode = hm_buf_form;
	if ((y = hm_yaml_get(map, "encoding")) && hm_load_choice(l, y, "encoding", encodings) == 1)
		r->encode = hm_buf_percent;
	load_body(l, map, &p, r);
	r->wrap = hm_load_tpl(l, map, "wrap", &after);
	if (r->wrap && (r->body_kind == HM_BODY_FORM || r->body_kind == HM_BODY_MULTIPART ||
			r->body_kind == HM_BODY_NONE))
		hm_load_fail(l, hm_yaml_get(map, "wrap"), "%s.wrap needs a body of json, xml or text",
			     in->where);
	r->query = params(l, hm_yaml_get(map, "query"), &p);
	r->headers = params(l, hm_yaml_get(map, "headers"), &after);
	check_headers(l, map, r->headers);
	load_sign(l, map, &after, r);
}
