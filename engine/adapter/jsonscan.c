/*
 * jsonscan.c - one checking walk, then cheap look-ups
 */
#include "adapter/jsonscan.h"

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && blank(*p))
		p++;
	return p;
}

static bool is_hex(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* p at the opening quote; returns past the closing one, NULL when the string is not well formed. */
static const char *check_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '"')
			return p + 1;
		if ((unsigned char)*p < 0x20)
			return NULL;
		if (*p != '\\')
			continue;
		if (++p >= end)
			return NULL;
		if (*p == 'u') {
			if (end - p < 5 || !is_hex(p[1]) || !is_hex(p[2]) || !is_hex(p[3]) || !is_hex(p[4]))
				return NULL;
			p += 4;
		} else if (strchr("\"\\/bfnrt", *p) == NULL || *p == '\0') {
			return NULL;
		}
	}
	return NULL;
}

static const char *check_digits(const char *p, const char *end)
{
	const char *start = p;

	while (p < end && *p >= '0' && *p <= '9')
		p++;
	return p > start ? p : NULL;
}

static const char *check_number(const char *p, const char *end)
{
	if (*p == '-')
		p++;
	if (p >= end)
		return NULL;
	if (*p == '0')
		p++;
	else if ((p = check_digits(p, end)) == NULL)
		return NULL;
	if (p < end && *p == '.' && (p = check_digits(p + 1, end)) == NULL)
		return NULL;
	if (p < end && (*p == 'e' || *p == 'E')) {
		p++;
		if (p < end && (*p == '+' || *p == '-'))
			p++;
		if ((p = check_digits(p, end)) == NULL)
			return NULL;
	}
	return p;
}

static const char *check_word(const char *p, const char *end, const char *word)
{
	size_t n = strlen(word);

	return (size_t)(end - p) >= n && memcmp(p, word, n) == 0 ? p + n : NULL;
}

static const char *check_scalar(const char *p, const char *end)
{
	switch (*p) {
	case '"': return check_string(p, end);
	case 't': return check_word(p, end, "true");
	case 'f': return check_word(p, end, "false");
	case 'n': return check_word(p, end, "null");
	default: return *p == '-' || (*p >= '0' && *p <= '9') ? check_number(p, end) : NULL;
	}
}

/* A machine per document, not recursion: `stack` holds one bit of knowledge per open container. */
bool hm_json_check(struct hm_str json)
{
	char stack[HM_JSONSCAN_DEPTH];
	size_t depth = 0;
	const char *p, *end;
	bool first = true; /* just behind an opening bracket */

	if (json.p == NULL || !hm_utf8_valid(json))
		return false;
	p = skip_blanks(json.p, json.p + json.len);
	end = json.p + json.len;
	for (;;) {
		/* Here a value is due (or, right behind '[' or '{', its end). */
		if (p >= end)
			return false;
		if (depth && first && *p == stack[depth - 1]) {
			p++;
			depth--;
		} else {
			if (depth && stack[depth - 1] == '}') {
				if (*p != '"' || (p = check_string(p, end)) == NULL)
					return false;
				p = skip_blanks(p, end);
				if (p >= end || *p != ':')
					return false;
				p = skip_blanks(p + 1, end);
				if (p >= end)
					return false;
			}
			if (*p == '{' || *p == '[') {
				if (depth == HM_JSONSCAN_DEPTH)
					return false;
				stack[depth++] = *p == '{' ? '}' : ']';
				p = skip_blanks(p + 1, end);
				first = true;
				continue;
			}
			if ((p = check_scalar(p, end)) == NULL)
				return false;
		}
		/* A value has ended: close what closes. */
		for (;;) {
			p = skip_blanks(p, end);
			if (depth == 0)
				return p == end;
			if (p >= end)
				return false;
			if (*p == ',') {
				p = skip_blanks(p + 1, end);
				first = false;
				break;
			}
			if (*p != stack[depth - 1])
				return false;
			p++;
			depth--;
		}
	}
}

struct hm_str hm_json_trim(struct hm_str json)
{
	return hm_str_trim(json);
}

/* Past the string that starts at p, or end. */
static const char *skip_string(const char *p, const char *end)
{
	for (p++; p < end; p++) {
		if (*p == '\\')
			p++;
		else if (*p == '"')
			return p + 1;
	}
	return end;
}

/* Past one value, or end. */
static const char *skip_value(const char *p, const char *end)
{
	size_t depth = 0;

	while (p < end) {
		if (*p == '"') {
			p = skip_string(p, end);
		} else if (*p == '{' || *p == '[') {
			depth++;
			p++;
			continue;
		} else if (*p == '}' || *p == ']') {
			if (depth == 0)
				return p;
			depth--;
			p++;
		} else if (depth == 0) {
			while (p < end && !blank(*p) && *p != ',' && *p != '}' && *p != ']')
				p++;
		} else {
			p++;
			continue;
		}
		if (depth == 0)
			return p;
	}
	return end;
}

bool hm_json_iter(struct hm_str c, struct hm_json_iter *it)
{
	const char *p = skip_blanks(c.p, c.p + c.len);

	if (c.len == 0 || p >= c.p + c.len || (*p != '{' && *p != '['))
		return false;
	it->object = *p == '{';
	it->p = p + 1;
	it->end = c.p + c.len;
	return true;
}

bool hm_json_next(struct hm_json_iter *it, struct hm_str *key_r, struct hm_str *value_r)
{
	const char *p = skip_blanks(it->p, it->end), *start;

	if (p < it->end && *p == ',')
		p = skip_blanks(p + 1, it->end);
	*key_r = HM_STR("");
	if (p >= it->end || *p == '}' || *p == ']')
		return false;
	if (it->object) {
		start = p;
		if (*p != '"')
			return false;
		p = skip_string(p, it->end);
		if (p - start < 2)
			return false;
		*key_r = hm_str_n(start + 1, (size_t)(p - start) - 2);
		p = skip_blanks(p, it->end);
		if (p >= it->end || *p != ':')
			return false;
		p = skip_blanks(p + 1, it->end);
	}
	start = p;
	p = skip_value(p, it->end);
	if (p == start)
		return false;
	*value_r = hm_str_n(start, (size_t)(p - start));
	it->p = p;
	return true;
}

static uint32_t hex4(const char *p)
{
	uint32_t v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		v = v << 4 | (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	return v;
}

/* Decodes escapes of s (no quotes) into out, which has s.len bytes. UTF-16 halves without their twin become U+FFFD. */
static size_t decode(struct hm_str s, char *out)
{
	const char *p = s.p, *end = s.p + s.len;
	char *o = out;

	while (p < end) {
		uint32_t cp;

		if (*p != '\\' || end - p < 2) {
			*o++ = *p++;
			continue;
		}
		p++;
		switch (*p) {
		case 'b':
			*o++ = '\b';
			p++;
			continue;
		case 'f':
			*o++ = '\f';
			p++;
			continue;
		case 'n':
			*o++ = '\n';
			p++;
			continue;
		case 'r':
			*o++ = '\r';
			p++;
			continue;
		case 't':
			*o++ = '\t';
			p++;
			continue;
		case 'u': break;
		default: *o++ = *p++; continue;
		}
		if (end - p < 5)
			break;
		cp = hex4(p + 1);
		p += 5;
		if (cp >= 0xd800 && cp < 0xdc00 && end - p >= 6 && p[0] == '\\' && p[1] == 'u') {
			uint32_t low = hex4(p + 2);

			if (low >= 0xdc00 && low < 0xe000) {
				cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
				p += 6;
			}
		}
		if (cp >= 0xd800 && cp < 0xe000)
			cp = 0xfffd;
		o += hm_utf8_encode(cp, o);
	}
	return (size_t)(o - out);
}

bool hm_json_member(struct hm_str object, struct hm_str name, struct hm_str *value_r)
{
	struct hm_json_iter it;
	struct hm_str key, v;
	bool found = false;

	if (!hm_json_iter(object, &it) || !it.object)
		return false;
	while (hm_json_next(&it, &key, &v)) {
		bool same = hm_str_eq(key, name);

		if (!same && key.len <= 256 && memchr(key.p, '\\', key.len) != NULL) {
			char text[256];

			same = hm_str_eq(hm_str_n(text, decode(key, text)), name);
		}
		if (same) { /* the last one wins, as in base/json.h */
			*value_r = v;
			found = true;
		}
	}
	return found;
}

bool hm_json_element(struct hm_str array, int32_t index, struct hm_str *value_r)
{
	struct hm_json_iter it;
	struct hm_str key;
	int32_t n = 0;

	if (!hm_json_iter(array, &it) || it.object)
		return false;
	if (index < 0) {
		while (hm_json_next(&it, &key, value_r))
			n++;
		index += n;
		if (index < 0 || !hm_json_iter(array, &it))
			return false;
	}
	for (n = 0; hm_json_next(&it, &key, value_r); n++)
		if (n == index)
			return true;
	return false;
}

struct hm_str hm_json_text(struct hm_str value, struct hm_arena *a)
{
	struct hm_str s;
	char *p;

	if (value.len < 2 || value.p[0] != '"')
		return value;
	s = hm_str_n(value.p + 1, value.len - 2);
	if (s.len == 0 || memchr(s.p, '\\', s.len) == NULL)
		return s;
	p = hm_arena_alloc(a, s.len);
	if (p == NULL)
		return HM_STR("");
	return hm_str_n(p, decode(s, p));
}
