/* compress.c - see compress.h; a run with a line break in it becomes its first line break, as it is written */
#include "tmpl/compress.h"

#include "base/str.h"

bool hm_is_white(uint32_t c)
{
	return (c >= 9 && c <= 13) || (c >= 28 && c <= 32) || c == 0x1680 || (c >= 0x2000 && c <= 0x2006) ||
	       (c >= 0x2008 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x205F || c == 0x3000;
}

size_t hm_compress(char *p, size_t len)
{
	enum { NONE, CR, CR_ONLY, CRLF, LF } line = NONE;
	bool white = false, begun = false;
	size_t i = 0, o = 0, n;

	while (i < len) {
		uint32_t c = hm_utf8_decode(hm_str_n(p + i, len - i), &n);

		if (hm_is_white(c)) {
			white = true;
			if (line == NONE)
				line = c == '\r' ? CR : c == '\n' ? LF : NONE;
			else if (line == CR)
				line = c == '\n' ? CRLF : CR_ONLY;
			i += n;
			continue;
		}
		if (white && begun) { /* what was read is at least as long as what is written */
			if (line == CR || line == CR_ONLY || line == CRLF)
				p[o++] = '\r';
			if (line == CRLF || line == LF)
				p[o++] = '\n';
			if (line == NONE)
				p[o++] = ' ';
		}
		white = false;
		begun = true;
		line = NONE;
		while (n-- > 0)
			p[o++] = p[i++];
	}
	return o;
}
