/*
 * lines.c - JSON Lines, CSV and plain lines as records
 */
#include "cli/lines.h"

#include <errno.h>

#include "base/json.h"

static int too_long(struct hm_err *e)
{
	return hm_err_set(e, HM_ELIMIT, "the record is longer than %u bytes", HM_LINES_MAX);
}

/* -- raw records ------------------------------------------------------------------ */

/* A record is a line; in CSV a quoted field may span lines. False at the end of the file. */
static bool read_raw(struct hm_lines *l, bool csv)
{
	bool quoted = false, any = false;
	int c;

	hm_buf_reset(&l->raw);
	l->line = l->next_line;
	while ((c = getc_unlocked(l->f)) != EOF) {
		any = true;
		l->bytes++;
		if (c == '\n') {
			l->next_line++;
			if (!quoted)
				break;
		}
		if (csv && c == '"')
			quoted = !quoted;
		hm_buf_putc(&l->raw, (char)c);
	}
	if (l->raw.len && l->raw.p[l->raw.len - 1] == '\r')
		l->raw.len--;
	return any;
}

static void skip_bom(struct hm_buf *b)
{
	if (b->len >= 3 && memcmp(b->p, "\xef\xbb\xbf", 3) == 0)
		hm_buf_consume(b, 3);
}

/* -- CSV ------------------------------------------------------------------------------ */

/* Splits raw into fields (RFC 4180). Returns their number, or a negative code. */
static int split(struct hm_lines *l, struct hm_err *e)
{
	const char *p = l->raw.p, *end = p + l->raw.len;
	size_t n = 0;

	hm_buf_reset(&l->fields);
	for (;;) {
		if (n == HM_LINES_COLUMNS)
			return hm_err_set(e, HM_ELIMIT, "more than %u columns", HM_LINES_COLUMNS);
		l->field_off[n++] = l->fields.len;
		if (p < end && *p == '"') {
			p++;
			for (;;) {
				if (p == end)
					return hm_err_set(e, HM_EPARSE, "a quoted field does not end");
				if (*p == '"') {
					if (p + 1 < end && p[1] == '"') {
						p++;
					} else {
						p++;
						break;
					}
				}
				hm_buf_putc(&l->fields, *p++);
			}
			if (p < end && *p != ',')
				return hm_err_set(e, HM_EPARSE, "text follows a quoted field");
		} else {
			while (p < end && *p != ',')
				hm_buf_putc(&l->fields, *p++);
		}
		if (p == end)
			break;
		p++;
	}
	l->field_off[n] = l->fields.len;
	if (l->fields.err)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	return (int)n;
}

static struct hm_str field(const struct hm_lines *l, size_t i)
{
	return hm_str_n(l->fields.p + l->field_off[i], l->field_off[i + 1] - l->field_off[i]);
}

static int flat_column(const struct hm_lines *l, struct hm_lines_column *c, struct hm_str name,
		       struct hm_err *e)
{
	const char *near;

	*c = (struct hm_lines_column){.where = COL_KEY, .type = COL_TEXT, .name = name};
	for (size_t i = 0; l->flat[i]; i++)
		if (hm_str_is(name, l->flat[i]))
			return 0;
	near = hm_str_nearest(name, l->flat);
	return hm_err_set(e, HM_EINVAL, "the column \"%.*s\" is unknown%s%s%s",
			  (int)hm_min(name.len, (size_t)60), name.p, near ? ", did you mean \"" : "",
			  near ? near : "", near ? "\"" : "");
}

static int column(struct hm_lines_column *c, struct hm_str name, struct hm_err *e)
{
	static const char *const keys[] = {"channel", "route",	"template", "campaign", "category", "tenant",
					   "lane",    "dedupe", "tags",	    "at",	"expires",  "to",
					   "user",    "locale", "tz",	    "addr.x",	"data.x",   NULL};
	ptrdiff_t colon;

	c->type = COL_TEXT;
	if (hm_str_starts(name, HM_STR("data."))) {
		c->where = COL_DATA;
		name = hm_str_n(name.p + 5, name.len - 5);
		colon = hm_str_chr(name, ':');
		if (colon >= 0) {
			struct hm_str type = hm_str_n(name.p + colon + 1, name.len - (size_t)colon - 1);

			name.len = (size_t)colon;
			if (hm_str_is(type, "number"))
				c->type = COL_NUMBER;
			else if (hm_str_is(type, "bool"))
				c->type = COL_BOOL;
			else if (hm_str_is(type, "json"))
				c->type = COL_JSON;
			else if (!hm_str_is(type, "text"))
				return hm_err_set(
					e, HM_EINVAL,
					"column data.%.*s: the type must be text, number, bool or json",
					HM_STRF(name));
		}
		if (name.len == 0)
			return hm_err_set(e, HM_EINVAL, "column data. needs a name after the dot");
	} else if (hm_str_starts(name, HM_STR("addr.")) && name.len > 5) {
		c->where = COL_ADDR;
		name = hm_str_n(name.p + 5, name.len - 5);
	} else if (hm_str_is(name, "to") || hm_str_is(name, "user") || hm_str_is(name, "locale") ||
		   hm_str_is(name, "tz")) {
		c->where = COL_RCPT;
		if (hm_str_is(name, "to"))
			name = HM_STR("addr");
	} else {
		size_t i = 0;

		while (keys[i] && !hm_str_is(name, keys[i]))
			i++;
		if (!keys[i] || i >= 11) {
			const char *near = hm_str_nearest(name, keys);

			return hm_err_set(
				e, HM_EINVAL,
				"the column \"%.*s\" is unknown%s%s%s; data columns are called data.<name>",
				(int)hm_min(name.len, (size_t)60), name.p, near ? ", did you mean \"" : "",
				near ? near : "", near ? "\"" : "");
		}
		c->where = COL_KEY;
		if (hm_str_is(name, "tags"))
			c->type = COL_LIST;
		else if (hm_str_is(name, "at") || hm_str_is(name, "expires"))
			c->type = COL_JSON; /* a number, or a text: see put_value */
	}
	c->name = name;
	return 0;
}

static int read_header(struct hm_lines *l, struct hm_err *e)
{
	int n, rc;

	do {
		if (!read_raw(l, true))
			return hm_err_set(e, HM_EINVAL,
					  "the file is empty; a CSV file begins with a header row");
		skip_bom(&l->raw);
	} while (l->raw.len == 0);
	n = split(l, e);
	if (n < 0)
		return n;
	hm_buf_puts(&l->header_text, hm_buf_str(&l->fields));
	if (l->header_text.err)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	for (int i = 0; i < n; i++) {
		struct hm_str f = field(l, (size_t)i);

		f = hm_str_n(l->header_text.p + l->field_off[i], f.len);
		f = hm_str_trim(f);
		rc = l->flat ? flat_column(l, &l->columns[i], f, e) : column(&l->columns[i], f, e);
		if (rc)
			return rc;
		for (int k = 0; k < i; k++)
			if (l->columns[k].where == l->columns[i].where &&
			    hm_str_eq(l->columns[k].name, l->columns[i].name))
				return hm_err_set(e, HM_EINVAL, "the column \"%.*s\" stands there twice",
						  HM_STRF(hm_str_trim(f)));
	}
	l->n_columns = (size_t)n;
	return 0;
}

static int put_value(struct hm_buf *b, const struct hm_lines_column *c, struct hm_str v, struct hm_err *e)
{
	struct hm_str part;
	uint32_t n = 0;

	switch (c->type) {
	case COL_TEXT: hm_mp_put_str(b, v); return 0;
	case COL_BOOL:
		if (hm_str_is(v, "true") || hm_str_is(v, "1") || hm_str_is(v, "yes"))
			hm_mp_put_bool(b, true);
		else if (hm_str_is(v, "false") || hm_str_is(v, "0") || hm_str_is(v, "no"))
			hm_mp_put_bool(b, false);
		else
			return hm_err_set(e, HM_ETYPE, "data.%.*s: \"%.*s\" is not true or false",
					  HM_STRF(c->name), (int)hm_min(v.len, (size_t)40), v.p);
		return 0;
	case COL_NUMBER:
		v = hm_str_trim(v);
		if (!hm_decimal_valid(v))
			return hm_err_set(e, HM_ETYPE, "data.%.*s: \"%.*s\" is not a number",
					  HM_STRF(c->name), (int)hm_min(v.len, (size_t)40), v.p);
		return hm_json_to_msgpack(v, b, e);
	case COL_JSON:
		if (c->where == COL_KEY) { /* at, expires */
			uint64_t ms;

			if (hm_str_u64(v, &ms))
				hm_mp_put_u64(b, ms);
			else
				hm_mp_put_str(b, v);
			return 0;
		}
		if (hm_json_to_msgpack(v, b, e))
			return hm_err_wrap(e, "data.%.*s", HM_STRF(c->name));
		return 0;
	case COL_LIST:
		for (struct hm_str rest = v; hm_str_split(&rest, ' ', &part);)
			n += part.len != 0;
		hm_mp_put_array(b, n);
		for (struct hm_str rest = v; hm_str_split(&rest, ' ', &part);)
			if (part.len)
				hm_mp_put_str(b, part);
		return 0;
	}
	hm_unreachable();
}

/* Empty fields are absent, so that one file can leave things out line by line; empty texts of data stay. */
static bool there(const struct hm_lines *l, size_t i)
{
	return field(l, i).len != 0 || (l->columns[i].where == COL_DATA && l->columns[i].type == COL_TEXT);
}

static uint32_t count(const struct hm_lines *l, int where)
{
	uint32_t n = 0;

	for (size_t i = 0; i < l->n_columns; i++)
		n += (int)l->columns[i].where == where && there(l, i);
	return n;
}

static int put_columns(struct hm_lines *l, int where, struct hm_err *e)
{
	for (size_t i = 0; i < l->n_columns; i++) {
		int rc;

		if ((int)l->columns[i].where != where || !there(l, i))
			continue;
		hm_mp_put_str(&l->mp, l->columns[i].name);
		rc = put_value(&l->mp, &l->columns[i], field(l, i), e);
		if (rc)
			return rc;
	}
	return 0;
}

/* {key columns..., to: {addr, user, locale, tz, data}} */
static int csv_record(struct hm_lines *l, struct hm_err *e)
{
	uint32_t n_data, n_addr, n_rcpt;
	int n = split(l, e), rc;

	if (n < 0)
		return n;
	if ((size_t)n != l->n_columns)
		return hm_err_set(e, HM_EPARSE, "%d fields, but the header has %zu columns", n, l->n_columns);
	if (l->flat) {
		hm_buf_reset(&l->mp);
		hm_mp_put_map(&l->mp, count(l, COL_KEY));
		return put_columns(l, COL_KEY, e);
	}
	n_data = count(l, COL_DATA);
	n_addr = count(l, COL_ADDR);
	n_rcpt = count(l, COL_RCPT);
	hm_buf_reset(&l->mp);
	hm_mp_put_map(&l->mp, count(l, COL_KEY) + 1);
	rc = put_columns(l, COL_KEY, e);
	if (rc)
		return rc;
	hm_mp_key(&l->mp, "to");
	hm_mp_put_map(&l->mp, n_rcpt + (n_addr != 0) + (n_data != 0));
	rc = put_columns(l, COL_RCPT, e);
	if (rc == 0 && n_addr) {
		hm_mp_key(&l->mp, "addr");
		hm_mp_put_map(&l->mp, n_addr);
		rc = put_columns(l, COL_ADDR, e);
	}
	if (rc == 0 && n_data) {
		hm_mp_key(&l->mp, "data");
		hm_mp_put_map(&l->mp, n_data);
		rc = put_columns(l, COL_DATA, e);
	}
	return rc;
}

/* -- records ---------------------------------------------------------------------------- */

int hm_lines_open(struct hm_lines *l, FILE *f, enum hm_lines_format format, struct hm_err *e)
{
	memset(l, 0, sizeof(*l));
	l->f = f;
	l->format = format;
	l->next_line = 1;
	hm_buf_init(&l->raw, HM_LINES_MAX);
	hm_buf_init(&l->mp, 2 * HM_LINES_MAX);
	hm_buf_init(&l->fields, HM_LINES_MAX);
	hm_buf_init(&l->header_text, 1u << 20);
	return format == HM_LINES_CSV ? read_header(l, e) : 0;
}

int hm_lines_open_flat(struct hm_lines *l, FILE *f, enum hm_lines_format format, const char *const *keys,
		       const char *plain_key, struct hm_err *e)
{
	int rc = hm_lines_open(l, f, HM_LINES_JSON, e);

	l->format = format;
	l->flat = keys;
	l->plain_key = plain_key;
	return rc == 0 && format == HM_LINES_CSV ? read_header(l, e) : rc;
}

void hm_lines_close(struct hm_lines *l)
{
	hm_buf_fini(&l->raw);
	hm_buf_fini(&l->mp);
	hm_buf_fini(&l->fields);
	hm_buf_fini(&l->header_text);
}

/* Adds what the command line says and the record does not. A record with `channel` needs no `route` and so on. */
static int merge(struct hm_lines *l, msgpack_zone *zone, msgpack_object *root, struct hm_err *e)
{
	static const char *const either[][2] = {{"channel", "route"}, {"template", "content"}};
	msgpack_object_kv *kv;
	uint32_t n;

	if (root->type != MSGPACK_OBJECT_MAP || l->n_defaults == 0)
		return 0;
	n = root->via.map.size;
	kv = msgpack_zone_malloc(zone, (n + l->n_defaults) * sizeof(*kv));
	if (!kv)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	if (n)
		memcpy(kv, root->via.map.ptr, n * sizeof(*kv));
	for (size_t i = 0; i < l->n_defaults; i++) {
		const struct hm_lines_default *d = &l->defaults[i];
		bool has = hm_mp_get(root, d->key) != NULL;

		for (size_t k = 0; k < hm_countof(either); k++)
			for (int side = 0; side < 2; side++)
				if (hm_str_is(d->key, either[k][side]) &&
				    hm_mp_get(root, hm_str_c(either[k][!side])))
					has = true;
		if (has)
			continue;
		kv[n].key.type = MSGPACK_OBJECT_STR;
		kv[n].key.via.str.ptr = d->key.p;
		kv[n].key.via.str.size = (uint32_t)d->key.len;
		if (hm_msgpack_decode(zone, d->value, &kv[n].val, e))
			return e->code;
		n++;
	}
	root->via.map.ptr = kv;
	root->via.map.size = n;
	return 0;
}

int hm_lines_next(struct hm_lines *l, msgpack_zone *zone, msgpack_object *root, struct hm_err *e)
{
	int rc;

	hm_err_clear(e);
	msgpack_zone_clear(zone);
	do {
		if (!read_raw(l, l->format == HM_LINES_CSV)) {
			if (ferror(l->f))
				return hm_err_set(e, HM_EIO, "reading failed: %s", strerror(errno));
			return 0;
		}
		if (l->line == 1)
			skip_bom(&l->raw);
	} while (hm_str_trim(hm_buf_str(&l->raw)).len == 0);
	if (l->raw.err)
		return too_long(e);
	if (l->format == HM_LINES_CSV) {
		rc = csv_record(l, e);
	} else if (l->format == HM_LINES_PLAIN) {
		hm_buf_reset(&l->mp);
		hm_mp_put_map(&l->mp, 1);
		hm_mp_put_str(&l->mp, hm_str_c(l->plain_key));
		hm_mp_put_str(&l->mp, hm_str_trim(hm_buf_str(&l->raw)));
		rc = 0;
	} else {
		hm_buf_reset(&l->mp);
		rc = hm_json_to_msgpack(hm_buf_str(&l->raw), &l->mp, e);
		if (rc) { /* "line 1" of the record would be taken for a line of the file */
			if (e->line == 1 && strncmp(e->text, "line 1 ", 7) == 0)
				memmove(e->text, e->text + 7, strlen(e->text + 7) + 1);
			e->line = 0;
		}
	}
	if (rc == 0 && l->mp.err)
		rc = hm_err_set(e, HM_ENOMEM, "out of memory");
	if (rc == 0)
		rc = hm_msgpack_decode(zone, hm_buf_str(&l->mp), root, e);
	if (rc == 0)
		rc = merge(l, zone, root, e);
	return rc == HM_EIO ? HM_EINVAL : rc < 0 ? rc : 1;
}

/* -- refused records ------------------------------------------------------------------ */

#define SHOWN_REJECTS 20 /* on stderr; all of them go to --rejects */

void hm_lines_refused(const struct hm_lines *l, const char *file, uint64_t nth, bool bar, FILE *rejects,
		      const struct hm_err *e)
{
	struct hm_buf b;

	if (bar && nth <= SHOWN_REJECTS + 1)
		fputs("\r\033[K", stderr);
	if (nth <= SHOWN_REJECTS)
		fprintf(stderr, "%s:%llu: %s\n", file, (unsigned long long)l->line, e->text);
	else if (nth == SHOWN_REJECTS + 1)
		fprintf(stderr, "hermod: further refused lines are only counted%s\n",
			rejects ? "" : "; --rejects FILE keeps them");
	if (!rejects)
		return;
	hm_buf_init(&b, 4 * HM_LINES_MAX);
	hm_buf_printf(&b, "{\"line\":%llu,\"field\":\"", (unsigned long long)l->line);
	hm_buf_json(&b, hm_str_c(e->field));
	hm_buf_lit(&b, "\",\"reason\":\"");
	hm_buf_json(&b, hm_str_c(e->text));
	hm_buf_lit(&b, "\",\"record\":\"");
	hm_buf_json(&b, hm_buf_str(&l->raw));
	hm_buf_lit(&b, "\"}\n");
	(void)fwrite(b.p, 1, b.len, rejects);
	hm_buf_fini(&b);
}
