/*
 * hpack.c - header blocks to requests
 */
#include "hpack.h"

#define FAST_BITS 12 /* one look-up gives up to two symbols */

static const struct {
	struct hm_str name, value;
} statics[] = {
#define HPACK_STATIC(name, value) {HM_STR_INIT(name), HM_STR_INIT(value)},
#include "tbl_hpack_static.h"
#undef HPACK_STATIC
};
#define N_STATIC hm_countof(statics)

/* -- Huffman ------------------------------------------------------------------- */

static struct {
	uint8_t sym[2];
	uint8_t n;    /* symbols, 0 = a longer code begins here */
	uint8_t bits; /* of all of them */
} fast[1 << FAST_BITS];

/* Longer codes, sorted by length: codes of one length are consecutive numbers. */
static struct {
	uint32_t first, count;
	uint16_t sym_at;
} by_len[31];
static uint16_t syms[257];

static const struct {
	uint32_t code;
	uint8_t bits;
} codes[] = {
#define HPACK_CODE(symbol, code, bits) {code, bits},
#include "tbl_huffman.h"
#undef HPACK_CODE
};

/* Symbols within the first `have` bits of `x` (left-aligned in FAST_BITS); -1 when none. */
static int first_symbol(uint32_t x, unsigned have, unsigned *bits_r)
{
	for (int s = 0; s < 256; s++)
		if (codes[s].bits <= have && x >> (FAST_BITS - codes[s].bits) == codes[s].code) {
			*bits_r = codes[s].bits;
			return s;
		}
	return -1;
}

static uint8_t name_bad[256];

void hpack_global_init(void)
{
	uint16_t at = 0;

	for (uint32_t x = 0; x < 1u << FAST_BITS; x++) {
		unsigned b1 = 0, b2 = 0;
		int s1 = first_symbol(x, FAST_BITS, &b1), s2;

		if (s1 < 0)
			continue;
		fast[x].sym[0] = (uint8_t)s1;
		fast[x].n = 1;
		fast[x].bits = (uint8_t)b1;
		s2 = first_symbol(x << b1 & ((1u << FAST_BITS) - 1), FAST_BITS - b1, &b2);
		if (s2 >= 0) {
			fast[x].sym[1] = (uint8_t)s2;
			fast[x].n = 2;
			fast[x].bits = (uint8_t)(b1 + b2);
		}
	}
	for (uint8_t len = 5; len <= 30; len++) {
		by_len[len].sym_at = at;
		for (uint16_t s = 0; s < 257; s++) {
			if (codes[s].bits != len)
				continue;
			if (by_len[len].count == 0)
				by_len[len].first = codes[s].code;
			hm_assert(codes[s].code == by_len[len].first + by_len[len].count);
			by_len[len].count++;
			syms[at++] = s;
		}
	}
	for (int c = 0; c < 256; c++) {
		bool token = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			     (c && strchr("!#$%&'*+-.^_`|~", c));

		name_bad[c] = !token;
	}
}

static bool slow_symbol(uint64_t acc, unsigned have, unsigned *bits_r, uint16_t *sym_r)
{
	for (unsigned len = 5; len <= 30 && len <= have; len++) {
		uint32_t code = (uint32_t)(acc >> (64 - len));

		if (by_len[len].count && code >= by_len[len].first &&
		    code - by_len[len].first < by_len[len].count) {
			*bits_r = len;
			*sym_r = syms[by_len[len].sym_at + (code - by_len[len].first)];
			return true;
		}
	}
	return false;
}

/* out has room for n * 8 / 5 + 2 bytes. Returns the length, or -1. */
static ptrdiff_t huffman(const uint8_t *p, size_t n, char *out)
{
	const uint8_t *end = p + n;
	uint64_t acc = 0; /* next bits, left-aligned */
	unsigned have = 0;
	char *o = out;

	for (;;) {
		uint32_t x;

		if (hm_likely(end - p >= 8)) { /* fill to 56 or more bits at once */
			uint64_t w;

			memcpy(&w, p, 8);
			acc |= __builtin_bswap64(w) >> have;
			p += (63 - have) >> 3;
			have |= 56;
		} else {
			while (have <= 56 && p < end) {
				acc |= (uint64_t)*p++ << (56 - have);
				have += 8;
			}
		}
		if (have < 5)
			break;
		x = (uint32_t)(acc >> (64 - FAST_BITS));
		if (hm_likely(fast[x].n && fast[x].bits <= have)) {
			o[0] = (char)fast[x].sym[0];
			o[1] = (char)fast[x].sym[1];
			o += fast[x].n;
			acc <<= fast[x].bits;
			have -= fast[x].bits;
		} else {
			unsigned bits;
			uint16_t sym;

			if (!slow_symbol(acc, have, &bits, &sym))
				break; /* padding, or junk: told apart below */
			if (sym == 256)
				return -1; /* EOS must not appear */
			*o++ = (char)sym;
			acc <<= bits;
			have -= bits;
		}
	}
	/* Padding: fewer than 8 bits, all ones. */
	if (have > 7 || (have && acc >> (64 - have) != (1u << have) - 1))
		return -1;
	return o - out;
}

/* -- dynamic table --------------------------------------------------------------- */

void hpack_init(struct hpack *h)
{
	h->head = h->n = h->size = h->pos = 0;
	h->max = HPACK_TABLE;
	h->memo_in = h->memo_out = 0;
}

static const struct hpack_entry *entry(const struct hpack *h, uint32_t i) /* 0 = newest */
{
	return &h->v[(h->head + HPACK_ENTRIES - i) % HPACK_ENTRIES];
}

static void evict(struct hpack *h, uint32_t room)
{
	while (h->n && h->size + room > h->max) {
		const struct hpack_entry *e = entry(h, h->n - 1);

		h->size -= e->name_len + e->value_len + 32;
		h->n--;
	}
}

/* Moves the living texts to the front. */
static void compact(struct hpack *h)
{
	uint32_t from = h->n ? entry(h, h->n - 1)->at : h->pos;

	memmove(h->text, h->text + from, h->pos - from);
	for (uint32_t i = 0; i < h->n; i++)
		h->v[(h->head + HPACK_ENTRIES - i) % HPACK_ENTRIES].at -= from;
	h->pos -= from;
}

static void insert(struct hpack *h, const char *both, uint32_t name_len, uint32_t value_len, bool good)
{
	uint32_t len = name_len + value_len;

	evict(h, len + 32);
	if (len + 32 > h->max)
		return; /* larger than the table: empties it */
	if (h->pos + len > sizeof(h->text))
		compact(h);
	memcpy(h->text + h->pos, both, len);
	h->head = (h->head + 1) % HPACK_ENTRIES;
	h->v[h->head] = (struct hpack_entry){h->pos, name_len, value_len, good};
	h->pos += len;
	h->n++;
	h->size += len + 32;
}

static bool lookup(const struct hpack *h, uint64_t index, struct hm_str *name, struct hm_str *value,
		   bool *good)
{
	const struct hpack_entry *e;

	if (index == 0 || index > N_STATIC + h->n)
		return false;
	if (index <= N_STATIC) {
		*name = statics[index - 1].name;
		*value = statics[index - 1].value;
		*good = true;
		return true;
	}
	e = entry(h, (uint32_t)(index - N_STATIC - 1));
	*name = hm_str_n(h->text + e->at, e->name_len);
	*value = hm_str_n(h->text + e->at + e->name_len, e->value_len);
	*good = e->good;
	return true;
}

/* -- blocks ------------------------------------------------------------------------ */

struct in {
	const uint8_t *p, *end;
};

static bool get_int(struct in *in, unsigned prefix, uint64_t *v_r)
{
	uint64_t mask = (1u << prefix) - 1, v;
	unsigned shift = 0;

	v = *in->p++ & mask;
	if (v < mask) {
		*v_r = v;
		return true;
	}
	while (in->p < in->end && shift < 28) {
		uint8_t b = *in->p++;

		v += (uint64_t)(b & 0x7f) << shift;
		shift += 7;
		if (!(b & 0x80)) {
			*v_r = v;
			return true;
		}
	}
	return false;
}

/* Appends a string literal to d; its length in len_r. */
static bool get_string(struct in *in, struct hm_buf *d, uint32_t *len_r)
{
	uint64_t n;
	bool huff;
	ptrdiff_t got;

	if (in->p >= in->end)
		return false;
	huff = *in->p & 0x80;
	if (!get_int(in, 7, &n) || n > (uint64_t)(in->end - in->p))
		return false;
	if (!hm_buf_reserve(d, n * 8 / 5 + 2))
		return false;
	if (huff) {
		got = huffman(in->p, n, d->p + d->len);
		if (got < 0)
			return false;
	} else {
		memcpy(d->p + d->len, in->p, n);
		got = (ptrdiff_t)n;
	}
	d->len += (size_t)got;
	*len_r = (uint32_t)got;
	in->p += n;
	return true;
}

static bool name_is_bad(struct hm_str s)
{
	unsigned bad = 0;

	for (size_t i = 0; i < s.len; i++)
		bad |= name_bad[(unsigned char)s.p[i]];
	return bad;
}

static bool value_is_bad(struct hm_str s)
{
	unsigned char bad = 0;

	for (size_t i = 0; i < s.len; i++) { /* no branch: the compiler makes vectors of it */
		unsigned char c = (unsigned char)s.p[i];

		bad = (unsigned char)(bad | ((c < 0x20) & (c != '\t')) | (c == 0x7f));
	}
	return bad;
}

/* The same for a value that may be the one of the last request. */
static bool get_secret(struct hpack *h, struct in *in, struct hm_buf *d, uint32_t *len_r, bool *good_r)
{
	const uint8_t *start = in->p;
	size_t n;

	if (h->memo_in && (size_t)(in->end - in->p) >= h->memo_in &&
	    memcmp(in->p, h->memo_enc, h->memo_in) == 0) {
		hm_buf_put(d, h->memo_dec, h->memo_out);
		*len_r = h->memo_out;
		in->p += h->memo_in;
		*good_r = true; /* only good ones are kept */
		return d->err == 0;
	}
	if (!get_string(in, d, len_r))
		return false;
	n = (size_t)(in->p - start);
	*good_r = !value_is_bad(hm_str_n(d->p + d->len - *len_r, *len_r));
	if (*good_r && n >= 32 && n <= sizeof(h->memo_enc) && *len_r <= sizeof(h->memo_dec)) {
		memcpy(h->memo_enc, start, n);
		memcpy(h->memo_dec, d->p + d->len - *len_r, *len_r);
		h->memo_in = (uint32_t)n;
		h->memo_out = *len_r;
	}
	return true;
}

static bool forbidden(struct hm_str name, struct hm_str value)
{
	switch (name.len) {
	case 2: return hm_str_is(name, "te") && !hm_str_is(value, "trailers");
	case 7: return hm_str_is(name, "upgrade");
	case 10: return hm_str_is(name, "connection") || hm_str_is(name, "keep-alive");
	case 16: return hm_str_is(name, "proxy-connection");
	case 17: return hm_str_is(name, "transfer-encoding");
	default: return false;
	}
}

static void pseudo(struct sink_req *r, struct hm_str name, uint32_t value, uint32_t len)
{
	uint32_t *at, *n;

	if (r->n_headers) /* pseudo-header fields come first */
		r->malformed = true;
	if (hm_str_is(name, ":method")) {
		at = &r->method;
		n = &r->method_len;
		r->head_method = len == 4 && memcmp(r->data.p + value, "HEAD", 4) == 0;
	} else if (hm_str_is(name, ":path")) {
		at = &r->path;
		n = &r->path_len;
	} else if (hm_str_is(name, ":scheme")) {
		r->malformed |= r->has_scheme;
		r->has_scheme = true;
		return;
	} else if (hm_str_is(name, ":authority")) {
		at = &r->authority;
		n = &r->authority_len;
	} else {
		r->malformed = true;
		return;
	}
	if (*n || !len)
		r->malformed = true;
	*at = value;
	*n = len;
}

/* The field's name and value stand at `at` of r->data, one after the other. good: free of what HTTP/2 forbids. */
static void take(struct sink_req *r, uint32_t at, uint32_t name_len, uint32_t value_len, bool good)
{
	struct hm_str name = hm_str_n(r->data.p + at, name_len);

	if (r->data.len > SINK_MAX_HEAD || r->n_headers == SINK_MAX_HEADERS)
		r->head_too_big = true;
	if (r->head_too_big) {
		r->data.len = at;
		return;
	}
	r->malformed |= !good;
	if (name_len && name.p[0] == ':')
		pseudo(r, name, at + name_len, value_len);
	else
		r->headers[r->n_headers++] = (struct sink_header){at, name_len, at + name_len, value_len};
}

static bool indexed(struct hpack *h, struct in *in, struct sink_req *r)
{
	struct hm_str name, value;
	uint32_t at = (uint32_t)r->data.len;
	uint64_t index;
	bool good;

	if (!get_int(in, 7, &index) || !lookup(h, index, &name, &value, &good))
		return false;
	hm_buf_puts(&r->data, name);
	hm_buf_puts(&r->data, value);
	if (r->data.err)
		return false;
	take(r, at, (uint32_t)name.len, (uint32_t)value.len, good);
	return true;
}

static bool literal(struct hpack *h, struct in *in, unsigned prefix, bool add, struct sink_req *r)
{
	bool never = !add && *in->p & 0x10, good_name = false, good_value;
	struct hm_str name, value;
	uint32_t at = (uint32_t)r->data.len, name_len, value_len;
	uint64_t index;

	if (!get_int(in, prefix, &index))
		return false;
	if (index) {
		if (!lookup(h, index, &name, &value, &good_name))
			return false;
		good_name = index <= N_STATIC; /* a dynamic entry's value may be what is bad about it */
		hm_buf_puts(&r->data, name);
		name_len = (uint32_t)name.len;
	} else if (!get_string(in, &r->data, &name_len)) {
		return false;
	}
	if (never) {
		if (!get_secret(h, in, &r->data, &value_len, &good_value))
			return false;
	} else {
		if (!get_string(in, &r->data, &value_len))
			return false;
		good_value = !value_is_bad(hm_str_n(r->data.p + at + name_len, value_len));
	}
	if (r->data.err)
		return false;
	name = hm_str_n(r->data.p + at, name_len);
	value = hm_str_n(name.p + name_len, value_len);
	if (!good_name)
		good_name = name_len && (name.p[0] == ':' || !name_is_bad(name));
	good_value = good_value && good_name && !forbidden(name, value);
	if (add)
		insert(h, name.p, name_len, value_len, good_value);
	take(r, at, name_len, value_len, good_value);
	return true;
}

bool hpack_decode(struct hpack *h, const uint8_t *p, size_t n, struct sink_req *r)
{
	struct in in = {p, p + n};
	bool first = true;

	while (in.p < in.end) {
		uint8_t b = *in.p;
		uint64_t max;
		bool ok;

		if (b & 0x80) {
			ok = indexed(h, &in, r);
		} else if (b & 0x40) {
			ok = literal(h, &in, 6, true, r);
		} else if (b & 0x20) { /* size update: only before the first field */
			ok = first && get_int(&in, 5, &max) && max <= HPACK_TABLE;
			if (ok) {
				h->max = (uint32_t)max;
				evict(h, 0);
			}
			if (!ok)
				return false;
			continue;
		} else {
			ok = literal(h, &in, 4, false, r);
		}
		first = false;
		if (!ok)
			return false;
	}
	return true;
}
