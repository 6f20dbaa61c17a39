/*
 * scan.c - JSON looked at in place
 */
#include "scan.h"

static const char *blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
		p++;
	return p;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* 0 = plain; 1 = ends the run: quote, backslash, control; 2 = not ASCII */
static const unsigned char kind[256] = {
	[0 ... 0x1f] = 1,
	['"'] = 1,
	['\\'] = 1,
	[0x80 ... 0xff] = 2,
};

/* p behind the opening quote; returns behind the closing one, NULL when bad. */
static const char *check_string(const char *p, const char *end, bool *high)
{
	unsigned seen = 0;

	for (;;) {
		unsigned char c;

		while (p < end && kind[(unsigned char)*p] != 1)
			seen |= kind[(unsigned char)*p++];
		if (seen)
			*high = true;
		if (p == end)
			return NULL;
		c = (unsigned char)*p;
		if (c == '"')
			return p + 1;
		if (c != '\\' || end - p < 2)
			return NULL;
		if (p[1] == 'u') {
			if (end - p < 6 || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]) || !is_hex(p[5]))
				return NULL;
			p += 6;
		} else if (p[1] && strchr("\"\\/bfnrt", p[1])) {
			p += 2;
		} else {
			return NULL;
		}
	}
}

static const char *digits(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

static const char *check_number(const char *p, const char *end)
{
	if (p < end && *p == '-')
		p++;
	if (p < end && *p == '0')
		p++;
	else if (!(p = digits(p, end)))
		return NULL;
	if (p < end && *p == '.' && !(p = digits(p + 1, end)))
		return NULL;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		p = digits(p, end);
	}
	return p;
}

static const char *check_word(const char *p, const char *end, const char *word, size_t n)
{
	return (size_t)(end - p) >= n && memcmp(p, word, n) == 0 ? p + n : NULL;
}

static const char *check_value(const char *p, const char *end, int depth, bool *high)
{
	char close;

	p = blanks(p, end);
	if (p == end)
		return NULL;
	switch (*p) {
	case '"': return check_string(p + 1, end, high);
	case 't': return check_word(p, end, "true", 4);
	case 'f': return check_word(p, end, "false", 5);
	case 'n': return check_word(p, end, "null", 4);
	case '{':
	case '[': break;
	default: return check_number(p, end);
	}
	if (depth == SCAN_MAX_DEPTH)
		return NULL;
	close = *p == '{' ? '}' : ']';
	p = blanks(p + 1, end);
	if (p < end && *p == close)
		return p + 1;
	for (;;) {
		if (close == '}') {
			p = blanks(p, end);
			if (p == end || *p != '"' || !(p = check_string(p + 1, end, high)))
				return NULL;
			p = blanks(p, end);
			if (p == end || *p++ != ':')
				return NULL;
		}
		p = check_value(p, end, depth + 1, high);
		if (!p)
			return NULL;
		p = blanks(p, end);
		if (p == end)
			return NULL;
		if (*p == close)
			return p + 1;
		if (*p++ != ',')
			return NULL;
	}
}

bool scan_valid(struct hm_str text)
{
	bool high = false;
	const char *end = text.p + text.len;
	const char *p = text.len ? check_value(text.p, end, 0, &high) : NULL;

	return p && blanks(p, end) == end && (!high || hm_utf8_valid(text));
}

/* The rest trusts the text: it passed scan_valid. */

static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end && *p != '"'; p++)
		if (*p == '\\')
			p++;
	return p < end ? p + 1 : end;
}

static const char *skip_value(const char *p, const char *end)
{
	int depth = 0;

	for (; p < end; p++) {
		switch (*p) {
		case '"':
			p = skip_string(p, end);
			if (depth == 0)
				return p;
			p--;
			break;
		case '{':
		case '[': depth++; break;
		case '}':
		case ']':
			if (depth == 0)
				return p;
			if (--depth == 0)
				return p + 1;
			break;
		case ',':
		case ' ':
		case '\t':
		case '\n':
		case '\r':
			if (depth == 0)
				return p;
			break;
		default: break;
		}
	}
	return end;
}

bool scan_first(struct scan_it *it, struct hm_str value)
{
	char t;

	value = value.p ? hm_str_trim(value) : value;
	t = scan_type(value);
	if (t != '{' && t != '[')
		return false;
	it->object = t == '{';
	it->p = value.p + 1;
	it->end = value.p + value.len;
	return true;
}

bool scan_next(struct scan_it *it, struct hm_str *key_r, struct hm_str *value_r)
{
	const char *p = blanks(it->p, it->end), *start;

	if (p < it->end && *p == ',')
		p = blanks(p + 1, it->end);
	if (p >= it->end || *p == '}' || *p == ']')
		return false;
	if (it->object) {
		start = p;
		p = skip_string(p, it->end);
		*key_r = hm_str_n(start + 1, (size_t)(p - start) - 2);
		p = blanks(p, it->end);
		p = blanks(p + 1, it->end); /* ':' */
	} else if (key_r) {
		*key_r = HM_STR_NULL;
	}
	start = p;
	p = skip_value(p, it->end);
	*value_r = hm_str_n(start, (size_t)(p - start));
	it->p = p;
	return true;
}

struct hm_str scan_get(struct hm_str object, const char *key)
{
	struct scan_it it;
	struct hm_str k, v;
	size_t n = strlen(key);

	if (scan_first(&it, object) && it.object)
		while (scan_next(&it, &k, &v))
			if (k.len == n && memcmp(k.p, key, n) == 0)
				return v;
	return HM_STR_NULL;
}

struct hm_str scan_path(struct hm_str object, const char *path)
{
	char key[64];
	const char *dot;

	while ((dot = strchr(path, '.')) && (size_t)(dot - path) < sizeof(key)) {
		memcpy(key, path, (size_t)(dot - path));
		key[dot - path] = '\0';
		object = scan_get(object, key);
		path = dot + 1;
	}
	return scan_get(object, path);
}

char scan_type(struct hm_str raw)
{
	raw.len = raw.p ? raw.len : 0;
	while (raw.len && (*raw.p == ' ' || *raw.p == '\t' || *raw.p == '\n' || *raw.p == '\r')) {
		raw.p++;
		raw.len--;
	}
	if (raw.len == 0)
		return 0;
	return (*raw.p == '-' || (*raw.p >= '0' && *raw.p <= '9')) ? '0' : *raw.p;
}

static unsigned hex4(const char *p)
{
	unsigned v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		v = v << 4 | (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return v;
}

struct hm_str scan_text(struct hm_str raw, struct hm_buf *out)
{
	const char *p, *end;
	size_t start = out->len;

	if (scan_type(raw) != '"' || raw.len < 2)
		return HM_STR_NULL;
	p = raw.p + 1;
	end = raw.p + raw.len - 1;
	if (!memchr(p, '\\', (size_t)(end - p)))
		return hm_str_n(p, (size_t)(end - p));
	while (p < end) {
		static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
		const char *f;

		if (*p != '\\') {
			hm_buf_putc(out, *p++);
			continue;
		}
		p++;
		if (*p == 'u') {
			char enc[4];
			uint32_t cp = hex4(p + 1);

			p += 5;
			if (cp >= 0xd800 && cp < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
				cp = 0x10000 + ((cp - 0xd800) << 10) + ((hex4(p + 2) - 0xdc00) & 0x3ff);
				p += 6;
			}
			hm_buf_put(out, enc, hm_utf8_encode(cp, enc));
			continue;
		}
		f = strchr(from, *p);
		hm_buf_putc(out, f && *f ? to[f - from] : *p);
		p++;
	}
	/* Growth may have moved the buffer, so the slice is made last. */
	return out->err ? HM_STR_NULL : hm_str_n(out->p + start, out->len - start);
}

bool scan_i64(struct hm_str raw, int64_t *v_r)
{
	return scan_type(raw) == '0' && hm_str_i64(raw, v_r);
}
