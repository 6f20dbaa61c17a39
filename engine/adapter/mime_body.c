/*
 * mime_body.c - request.mime: a mail from the fields of an adapter file
 */
#include "adapter/model.h"
#include "adapter/sign.h"
#include "mail/dkim.h"
#include "mail/mime.h"

static struct hm_tree *member(const struct hm_tree *map, const char *name)
{
	for (uint32_t i = 0; i < map->n; i++)
		if (hm_str_is(map->child[i]->name, name))
			return map->child[i];
	return NULL;
}

static struct hm_val value(struct hm_eval *ev, const struct hm_tree *map, const char *name)
{
	struct hm_tree *n = member(map, name);
	struct hm_val v;

	if (n == NULL)
		return HM_NONE;
	if (n->cond) {
		v = hm_eval(ev, n->cond);
		if (!hm_val_true(&v))
			return HM_NONE;
	}
	return hm_tree_value(ev, n);
}

static struct hm_str text(struct hm_eval *ev, const struct hm_tree *map, const char *name)
{
	struct hm_val v = value(ev, map, name);

	return hm_val_text(&v, ev->a);
}

static int refuse(struct hm_eval *ev, const char *why)
{
	hm_err_set(ev->err, HM_EINVAL, "attachments: %s", why);
	hm_err_field(ev->err, "attachments");
	return ev->rc = HM_EINVAL;
}

/* [{name, type, data, cid}], data in base64. */
static int attachments(struct hm_eval *ev, const struct hm_tree *map, struct hm_mime *m)
{
	struct hm_val list = value(ev, map, "attachments");
	struct hm_mime_attachment *v;
	size_t n = hm_val_len(&list);

	if (n == 0)
		return 0;
	if (n > HM_MIME_ATTACHMENTS)
		return refuse(ev, "there are more than 32");
	v = hm_arena_zalloc(ev->a, n * sizeof(*v));
	if (v == NULL)
		return ev->rc = hm_err_set(ev->err, HM_ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		struct hm_val it = hm_val_at(&list, i, NULL, ev->a);
		struct hm_val name = hm_val_get(&it, HM_STR("name"), ev->a),
			      type = hm_val_get(&it, HM_STR("type"), ev->a);
		struct hm_val cid = hm_val_get(&it, HM_STR("cid"), ev->a),
			      data = hm_val_get(&it, HM_STR("data"), ev->a);
		struct hm_buf bytes;

		v[i].name = hm_val_text(&name, ev->a);
		v[i].type = hm_val_text(&type, ev->a);
		v[i].cid = hm_val_text(&cid, ev->a);
		hm_buf_init_arena(&bytes, ev->a, HM_VAL_MAX_TEXT);
		if (data.t != HM_V_STR || !hm_buf_unbase64(&bytes, data.s))
			return refuse(ev, "each needs data in base64");
		v[i].data = hm_buf_str(&bytes);
	}
	m->attachments = v;
	m->n_attachments = n;
	return 0;
}

static int headers(struct hm_eval *ev, const struct hm_tree *map, struct hm_mime *m)
{
	struct hm_tree *n = member(map, "headers");
	struct hm_val pairs;
	struct hm_mime_header *v;

	if (n == NULL)
		return 0;
	pairs = hm_tree_pairs(ev, n);
	v = hm_arena_alloc(ev->a, (pairs.n + 1) * sizeof(*v));
	if (v == NULL)
		return ev->rc = hm_err_set(ev->err, HM_ENOMEM, "out of memory");
	for (uint32_t i = 0; i < pairs.n; i++)
		v[i] = (struct hm_mime_header){pairs.map[i].name, hm_val_text(&pairs.map[i].v, ev->a)};
	m->headers = v;
	m->n_headers = pairs.n;
	return ev->rc;
}

static int sign(void *arg, struct hm_str data, struct hm_str digest, struct hm_buf *out, struct hm_err *e)
{
	const struct hm_key *key = arg;

	return hm_key_fits(key, HM_SIG_EDDSA) ? hm_sign(key, HM_SIG_EDDSA, digest, out, e)
					      : hm_sign(key, HM_SIG_RS256, data, out, e);
}

static int dkim(struct hm_eval *ev, const struct hm_tree *map, struct hm_str message, struct hm_buf *out)
{
	struct hm_tree *n = member(map, "dkim");
	struct hm_dkim k = {.sign = sign};
	struct hm_val key;

	if (n == NULL)
		return 0;
	key = value(ev, n, "key");
	if (key.t != HM_V_KEY)
		return 0;
	k.domain = text(ev, n, "domain");
	k.selector = text(ev, n, "selector");
	k.time_s = ev->wall_ms / 1000;
	k.ed25519 = hm_key_fits(key.key, HM_SIG_EDDSA);
	k.arg = (void *)(uintptr_t)key.key;
	if (ev->rc)
		return ev->rc;
	return ev->rc = hm_dkim_sign(&k, message, out, ev->err);
}

int hm_mime_body(struct hm_eval *ev, const struct hm_tree *map, struct hm_buf *out)
{
	struct hm_val at = value(ev, map, "date");
	struct hm_buf mail;
	struct hm_mime m = {
		.from = {text(ev, map, "from_name"), text(ev, map, "from")},
		.to = {text(ev, map, "to_name"), text(ev, map, "to")},
		.reply_to = {HM_STR(""), text(ev, map, "reply_to")},
		.subject = text(ev, map, "subject"),
		.message_id = text(ev, map, "message_id"),
		.text = text(ev, map, "text"),
		.html = text(ev, map, "html"),
		.date_s = at.t == HM_V_INT && at.i >= 0 ? (uint64_t)at.i : ev->wall_ms / 1000,
	};

	m.seed = m.message_id;
	if (ev->rc || headers(ev, map, &m) != 0 || attachments(ev, map, &m) != 0)
		return ev->rc;
	hm_buf_init_arena(&mail, ev->a, HM_VAL_MAX_TEXT);
	hm_buf_reserve(&mail, hm_min(1024 + m.text.len + m.html.len + (m.text.len + m.html.len) / 2,
				     (size_t)HM_VAL_MAX_TEXT));
	if ((ev->rc = hm_mime_write(&m, &mail, ev->err)) != 0)
		return ev->rc;
	if (dkim(ev, map, hm_buf_str(&mail), out) != 0)
		return ev->rc;
	hm_buf_puts(out, hm_buf_str(&mail));
	return 0;
}
