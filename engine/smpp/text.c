/*
 * text.c - alphabets of short messages and cutting into parts
 */
#include "smpp/text.h"

/* The default alphabet by code; 0x1B is the escape to the extension table. */
static const uint16_t gsm[128] = {
	'@',  0xA3,  '$',  0xA5,  0xE8,	 0xE9,	0xF9,  0xEC,  0xF2,  0xC7,  '\n',  0xD8,  0xF8, '\r', 0xC5,
	0xE5, 0x394, '_',  0x3A6, 0x393, 0x39B, 0x3A9, 0x3A0, 0x3A8, 0x3A3, 0x398, 0x39E, 0x1B, 0xC6, 0xE6,
	0xDF, 0xC9,  ' ',  '!',	  '"',	 '#',	0xA4,  '%',   '&',   '\'',  '(',   ')',	  '*',	'+',  ',',
	'-',  '.',   '/',  '0',	  '1',	 '2',	'3',   '4',   '5',   '6',   '7',   '8',	  '9',	':',  ';',
	'<',  '=',   '>',  '?',	  0xA1,	 'A',	'B',   'C',   'D',   'E',   'F',   'G',	  'H',	'I',  'J',
	'K',  'L',   'M',  'N',	  'O',	 'P',	'Q',   'R',   'S',   'T',   'U',   'V',	  'W',	'X',  'Y',
	'Z',  0xC4,  0xD6, 0xD1,  0xDC,	 0xA7,	0xBF,  'a',   'b',   'c',   'd',   'e',	  'f',	'g',  'h',
	'i',  'j',   'k',  'l',	  'm',	 'n',	'o',   'p',   'q',   'r',   's',   't',	  'u',	'v',  'w',
	'x',  'y',   'z',  0xE4,  0xF6,	 0xF1,	0xFC,  0xE0,
};

static const struct {
	uint8_t code;
	uint16_t cp;
} extension[] = {
	{0x0A, '\f'}, {0x14, '^'}, {0x28, '{'}, {0x29, '}'}, {0x2F, '\\'},
	{0x3C, '['},  {0x3D, '~'}, {0x3E, ']'}, {0x40, '|'}, {0x65, 0x20AC},
};

#define ESC 0x1Bu

int smpp_gsm_code(uint32_t cp)
{
	if ((cp >= 'a' && cp <= 'z') || (cp >= 'A' && cp <= 'Z') || (cp >= '0' && cp <= '9') || cp == ' ')
		return (int)cp;
	if (cp == ESC)
		return -1;
	for (size_t i = 0; i < hm_countof(gsm); i++)
		if (gsm[i] == cp)
			return (int)i;
	for (size_t i = 0; i < hm_countof(extension); i++)
		if (extension[i].cp == cp)
			return (int)(ESC << 8 | extension[i].code);
	return -1;
}

/* One character in an alphabet: its bytes, 0 when it is not in it. */
static size_t put_char(uint32_t cp, enum smpp_alphabet a, uint8_t out[4])
{
	int code;

	switch (a) {
	case SMPP_GSM:
	case SMPP_GSM_PACKED:
		code = smpp_gsm_code(cp);
		if (code < 0)
			return 0;
		if (code < 0x80) {
			out[0] = (uint8_t)code;
			return 1;
		}
		out[0] = ESC;
		out[1] = (uint8_t)code;
		return 2;
	case SMPP_LATIN1:
		/* 0x80..0x9F are control characters there, which nobody means. */
		if (cp > 0xFF || (cp >= 0x80 && cp < 0xA0))
			return 0;
		out[0] = (uint8_t)cp;
		return 1;
	case SMPP_UCS2: break;
	}
	if (cp < 0x10000) {
		out[0] = (uint8_t)(cp >> 8);
		out[1] = (uint8_t)cp;
		return 2;
	}
	cp -= 0x10000;
	out[0] = (uint8_t)(0xD8 | cp >> 18);
	out[1] = (uint8_t)(cp >> 10);
	out[2] = (uint8_t)(0xDC | (cp >> 8 & 3));
	out[3] = (uint8_t)cp;
	return 4;
}

struct room {
	uint32_t one, part;
};

static struct room room_of(enum smpp_alphabet a, enum smpp_long how)
{
	bool wide = how == SMPP_LONG_UDH16;

	if (how == SMPP_LONG_PAYLOAD)
		return (struct room){0xffff, 0xffff};
	switch (a) {
	case SMPP_GSM:
	case SMPP_GSM_PACKED: return (struct room){160, wide ? 152 : 153};
	case SMPP_LATIN1: return (struct room){140, wide ? 133 : 134};
	case SMPP_UCS2: break;
	}
	return (struct room){140, wide ? 132 : 134};
}

/* Writes the text and notes where parts end (ends may be NULL: only counts). False: a character is not in the alphabet. */
static bool lay(struct hm_str utf8, enum smpp_alphabet a, uint32_t part, uint8_t *out, uint32_t *ends,
		uint32_t *n_parts_r, size_t *len_r)
{
	size_t at = 0, fill = 0, n;
	uint32_t parts = 1;

	for (size_t i = 0; i < utf8.len; i += n) {
		uint32_t cp = hm_utf8_decode(hm_str_n(utf8.p + i, utf8.len - i), &n);
		uint8_t one[4];
		size_t size = put_char(cp, a, one);

		if (size == 0)
			return false;
		if (fill + size > part) {
			if (ends)
				ends[parts - 1] = (uint32_t)at;
			parts++;
			fill = 0;
		}
		if (out)
			memcpy(out + at, one, size);
		at += size;
		fill += size;
	}
	if (ends)
		ends[parts - 1] = (uint32_t)at;
	*n_parts_r = parts;
	*len_r = at;
	return true;
}

size_t smpp_gsm_pack(const uint8_t *septets, size_t n, unsigned fill, uint8_t *out)
{
	size_t bits = fill, at = 0, acc_bits = fill;
	uint32_t acc = 0;

	for (size_t i = 0; i < n; i++) {
		acc |= (uint32_t)(septets[i] & 0x7f) << acc_bits;
		acc_bits += 7;
		while (acc_bits >= 8) {
			out[at++] = (uint8_t)acc;
			acc >>= 8;
			acc_bits -= 8;
		}
		bits += 7;
	}
	if (acc_bits) {
		/* Seven zero bits at the end would be read as '@': TS 23.038 fills them with CR. */
		if (acc_bits == 1)
			acc |= 0x0Du << 1;
		out[at++] = (uint8_t)acc;
	}
	hm_assert(at == (bits + 7) / 8);
	return at;
}

/* Each part on its own, behind the header it will stand behind. */
static bool pack_parts(struct smpp_text *t, enum smpp_long how, struct hm_arena *a)
{
	unsigned fill = t->n_parts > 1 && how == SMPP_LONG_UDH8 ? 1 : 0;

	for (uint32_t i = 0; i < t->n_parts; i++) {
		uint8_t *out = hm_arena_alloc(a, t->parts[i].len + 1);

		if (out == NULL)
			return false;
		t->parts[i].len = smpp_gsm_pack((const uint8_t *)t->parts[i].p, t->parts[i].len, fill, out);
		t->parts[i].p = (const char *)out;
	}
	return true;
}

int smpp_text_encode(struct hm_str utf8, enum smpp_alphabet want, enum smpp_long how, struct hm_arena *a,
		     struct smpp_text *t, struct hm_err *e)
{
	uint32_t n_parts, ends[SMPP_MAX_PARTS], from = 0;
	struct room room = room_of(want, how);
	uint8_t *bytes;
	size_t len;

	t->alphabet = want;
	if (!lay(utf8, want, room.one, NULL, NULL, &n_parts, &len)) {
		t->alphabet = SMPP_UCS2;
		room = room_of(SMPP_UCS2, how);
		(void)lay(utf8, SMPP_UCS2, room.one, NULL, NULL, &n_parts, &len);
	}
	if (n_parts > 1) {
		if (how == SMPP_LONG_PAYLOAD)
			return hm_err_set(e, HM_ELIMIT, "the text is longer than 65535 octets");
		(void)lay(utf8, t->alphabet, room.part, NULL, NULL, &n_parts, &len);
		if (n_parts > SMPP_MAX_PARTS)
			return hm_err_set(e, HM_ELIMIT, "the text needs %u parts, more than %u", n_parts,
					  SMPP_MAX_PARTS);
	} else {
		room.part = room.one;
	}
	bytes = hm_arena_alloc(a, len + 1);
	t->parts = hm_arena_alloc(a, n_parts * sizeof(*t->parts));
	if (bytes == NULL || t->parts == NULL)
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	(void)lay(utf8, t->alphabet, room.part, bytes, ends, &t->n_parts, &len);
	for (uint32_t i = 0; i < t->n_parts; i++) {
		t->parts[i] = hm_str_n((const char *)bytes + from, ends[i] - from);
		from = ends[i];
	}
	if (t->alphabet == SMPP_GSM_PACKED && !pack_parts(t, how, a))
		return hm_err_set(e, HM_ENOMEM, "out of memory");
	return 0;
}

/* -- back -------------------------------------------------------------------------------- */

static void put_utf8(struct hm_buf *out, uint32_t cp)
{
	char p[4];

	hm_buf_put(out, p, hm_utf8_encode(cp, p));
}

static uint32_t gsm_extended(uint8_t code)
{
	for (size_t i = 0; i < hm_countof(extension); i++)
		if (extension[i].code == code)
			return extension[i].cp;
	/* TS 23.038: an unknown one shows the character of the default table. */
	return code < 0x80 && code != ESC ? gsm[code] : ' ';
}

static void decode_gsm(const uint8_t *p, size_t n, struct hm_buf *out)
{
	for (size_t i = 0; i < n; i++) {
		if (p[i] == ESC)
			put_utf8(out, i + 1 < n ? gsm_extended(p[++i]) : ' ');
		else
			put_utf8(out, p[i] < 0x80 ? gsm[p[i]] : 0xFFFD);
	}
}

/* How many septets there are is not told; seven zero bits at the end are filling, as the other side of pack. */
static void decode_packed(const uint8_t *p, size_t n, struct hm_buf *out)
{
	uint32_t acc = 0;
	unsigned bits = 0;
	bool escaped = false;
	size_t septets = n * 8 / 7, at = 0;

	for (size_t i = 0; i < septets; i++) {
		uint8_t s;

		while (bits < 7) {
			acc |= (uint32_t)p[at++] << bits;
			bits += 8;
		}
		s = acc & 0x7f;
		acc >>= 7;
		bits -= 7;
		if (i + 1 == septets && n % 7 == 0 && (s == 0 || s == '\r'))
			break;
		if (escaped)
			put_utf8(out, gsm_extended(s));
		else if (s != ESC)
			put_utf8(out, gsm[s]);
		escaped = !escaped && s == ESC;
	}
}

static void decode_ucs2(const uint8_t *p, size_t n, struct hm_buf *out)
{
	for (size_t i = 0; i + 1 < n; i += 2) {
		uint32_t u = (uint32_t)p[i] << 8 | p[i + 1], low;

		if (u >= 0xD800 && u < 0xDC00 && i + 3 < n) {
			low = (uint32_t)p[i + 2] << 8 | p[i + 3];
			if (low >= 0xDC00 && low < 0xE000) {
				put_utf8(out, 0x10000 + ((u - 0xD800) << 10 | (low - 0xDC00)));
				i += 2;
				continue;
			}
		}
		put_utf8(out, u >= 0xD800 && u < 0xE000 ? 0xFFFD : u);
	}
	if (n % 2)
		put_utf8(out, 0xFFFD);
}

void smpp_text_decode(struct hm_str bytes, enum smpp_alphabet a, struct hm_buf *out)
{
	const uint8_t *p = (const uint8_t *)bytes.p;

	switch (a) {
	case SMPP_GSM: decode_gsm(p, bytes.len, out); break;
	case SMPP_GSM_PACKED: decode_packed(p, bytes.len, out); break;
	case SMPP_LATIN1:
		for (size_t i = 0; i < bytes.len; i++)
			put_utf8(out, p[i]);
		break;
	case SMPP_UCS2: decode_ucs2(p, bytes.len, out); break;
	}
}
