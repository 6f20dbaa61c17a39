/*
 * HM_FILTER(NAME, text, least, most, doc): `value | text(arguments)`. NONE in gives NONE out unless the doc says else.
 * The lambda filters (HM_LAMBDA) evaluate their argument once per element, with `it`, `index` and `key`.
 */
HM_FILTER(JSON, "json", 0, 0, "JSON text of the value (a text becomes a quoted string)")
HM_FILTER(FROM_JSON, "from_json", 0, 0, "the value of a JSON text; none when it is not JSON")
HM_FILTER(PCT, "url", 0, 0, "RFC 3986 percent-encoding (space is %20, ~ stays)")
HM_FILTER(FORM, "form", 0, 0, "form encoding (space is +)")
HM_FILTER(XML, "xml", 0, 0, "XML escaping")
HM_FILTER(HTML, "html", 0, 0, "HTML escaping")
HM_FILTER(ESCAPE, "escape", 0, 0,
	  "plain text written for the channel's dialect, so that it is read as that text")
HM_FILTER(BOLD, "bold", 0, 0, "the same, emboldened where the dialect can")
HM_FILTER(LINK, "link", 1, 1, "the same as a link: title | link(url); without a url the text alone")
HM_FILTER(BASE64, "base64", 0, 0, "base64 with padding")
HM_FILTER(BASE64URL, "base64url", 0, 0, "base64url without padding")
HM_FILTER(UNBASE64, "unbase64", 0, 0, "bytes of base64 or base64url; an error when it is neither")
HM_FILTER(HEX, "hex", 0, 0, "lower-case hex")
HM_FILTER(HEX_UPPER, "hex_upper", 0, 0, "upper-case hex")
HM_FILTER(UNHEX, "unhex", 0, 0, "bytes of hex; an error when it is not hex")
HM_FILTER(LOWER, "lower", 0, 0, "ASCII lower case")
HM_FILTER(UPPER, "upper", 0, 0, "ASCII upper case")
HM_FILTER(TRIM, "trim", 0, 0, "without blanks on both sides")
HM_FILTER(ONELINE, "oneline", 0, 0, "control characters become spaces: text for a header")
HM_FILTER(CLEAN, "clean", 0, 0, "without control characters, except line feed and tab")
HM_FILTER(UNXML, "unxml", 0, 0, "the text of a piece of XML: without tags, entities decoded")
HM_FILTER(UNURL, "unurl", 0, 0, "percent-decoded; + stays")
HM_FILTER(RFC2047, "rfc2047", 0, 0, "=?UTF-8?B?...?= when there is anything but ASCII: text for a header")
HM_FILTER(CUT, "cut", 1, 3,
	  "at most N units: cut(N), cut(N, 'bytes'|'chars'|'utf16'|'segments'), cut(N, unit, '...')")
HM_FILTER(REPLACE, "replace", 2, 2, "every occurrence of a text by another")
HM_FILTER(UNPREFIX, "unprefix", 1, 1, "without this beginning, when it has it")
HM_FILTER(PREFIX, "prefix", 1, 1, "with this beginning, unless it has it")
HM_FILTER(STARTS, "starts", 1, 1, "true when the text starts with ... (none: false)")
HM_FILTER(ENDS, "ends", 1, 1, "true when the text ends with ... (none: false)")
HM_FILTER(CONTAINS, "contains", 1, 1, "true when the text contains ..., ignoring ASCII case (none: false)")
HM_FILTER(MATCHES, "matches", 1, 1,
	  "true when the regular expression (PCRE2, a constant) is found (none: false)")
HM_FILTER(CAPTURE, "capture", 1, 2,
	  "what the regular expression finds: its first group, else all; capture(pattern, group); none when "
	  "not found")
HM_FILTER(IS_GSM, "is_gsm", 0, 0, "true when a text message needs no UCS-2 for it (none: true)")
HM_FILTER(UCS2, "ucs2", 0, 0, "the text in UTF-16BE, as bytes: follow with hex")
HM_FILTER(PAD, "pad", 1, 2, "at least N characters, filled in front: pad(4, '0')")
HM_FILTER(SPLIT, "split", 1, 1, "list of the parts between separators; empty text gives an empty list")
HM_FILTER(JOIN, "join", 1, 1, "the elements with a text between them")
HM_FILTER(FIRST, "first", 0, 0, "first element; none when empty")
HM_FILTER(LAST, "last", 0, 0, "last element; none when empty")
HM_FILTER(CONCAT, "concat", 1, 8,
	  "elements of this list and of those, pairs of this map and of those (none: the others)")
HM_FILTER(
	SLICE, "slice", 1, 2,
	"slice(from), slice(from, count): elements of a list, bytes of a text; from < 0 counts from the end")
HM_FILTER(LEN, "len", 0, 0, "elements of a container, bytes of a text (none: 0)")
HM_FILTER(CHARS, "chars", 0, 0, "code points of a text (none: 0)")
HM_FILTER(STR, "str", 0, 0, "as text")
HM_FILTER(INT, "int", 0, 0, "as a whole number; an error when it is not one")
HM_FILTER(NUMBER, "number", 1, 1,
	  "a whole number from 1 to N that stands for the text: number(N); one in that range stays")
HM_FILTER(AT_MOST, "at_most", 1, 1, "the whole number, or this one when it is larger")
HM_FILTER(AT_LEAST, "at_least", 1, 1, "the whole number, or this one when it is smaller")
HM_FILTER(BOOL, "bool", 0, 0, "true or false (none: false)")
HM_FILTER(STRING_VALUES, "string_values", 0, 0, "a map with every value as text (nested values as JSON text)")
HM_FILTER(VALUES, "values", 0, 0, "list of a map's values")
HM_FILTER(KEYS, "keys", 0, 0, "list of a map's names")
HM_FILTER(TIME, "time", 1, 2,
	  "a Unix second by strftime pattern, in UTC or an offset: time('%Y%m%dT%H%M%SZ'), time(p, '+08:00')")
HM_FILTER(TIME_MS, "time_ms", 1, 2, "the same of a Unix millisecond; %L: its three digits behind the second")
HM_FILTER(UNIX, "unix", 0, 2,
	  "Unix second of a time: RFC 3339, or unix('%Y-%m-%d %H:%M:%S', '+08:00'); none when it is not one")
HM_FILTER(UUIDF, "as_uuid", 0, 0, "32 hex digits as 8-4-4-4-12")
HM_FILTER(UUID4, "uuid4", 0, 0, "a random UUID from 32 random hex digits: nonce | uuid4")
HM_FILTER(URL_ORIGIN, "url_origin", 0, 0, "scheme://host[:port] of a URL; none when it is not one")
HM_FILTER(CRC32, "crc32", 0, 0, "checksum (zlib), as a number")
HM_FILTER(MD5, "md5", 0, 0, "digest, as bytes: follow with hex or base64")
HM_FILTER(SHA1, "sha1", 0, 0, "digest, as bytes")
HM_FILTER(SHA256, "sha256", 0, 0, "digest, as bytes")
HM_FILTER(SHA512, "sha512", 0, 0, "digest, as bytes")
HM_FILTER(HMAC_MD5, "hmac_md5", 1, 1, "HMAC of the text with this key, as bytes")
HM_FILTER(HMAC_SHA1, "hmac_sha1", 1, 1, "HMAC, as bytes")
HM_FILTER(HMAC_SHA256, "hmac_sha256", 1, 1, "HMAC, as bytes")
HM_FILTER(HMAC_SHA512, "hmac_sha512", 1, 1, "HMAC, as bytes")
HM_FILTER(SIGN, "sign", 2, 2, "signature as bytes: sign('RS256'|'RS1'|'PS256'|'ES256'|'EdDSA', key)")
HM_FILTER(WEBPUSH, "webpush_encrypt", 2, 4,
	  "the text encrypted for a browser (RFC 8291): webpush_encrypt(p256dh, auth), both in base64url; in "
	  "tests also salt and private key")
HM_FILTER(VAPID, "vapid", 1, 2,
	  "who sends to this URL (RFC 8292), as header authorization wants it: vapid(key, 'mailto:...')")
HM_FILTER(AES_CBC, "aes_cbc", 2, 2,
	  "AES-CBC with PKCS#7 padding, as bytes: aes_cbc(key, iv); the key's length tells which AES")
HM_FILTER(AES_ECB, "aes_ecb", 1, 1,
	  "AES-ECB with PKCS#7 padding, as bytes (only where a provider knows nothing better)")
HM_FILTER(AES_GCM, "aes_gcm", 2, 3,
	  "AES-GCM, the tag behind the text, as bytes: aes_gcm(key, iv), aes_gcm(key, iv, aad)")
HM_FILTER(RSA_ENCRYPT, "rsa_encrypt", 1, 2,
	  "RSA with a public key (PEM or base64 DER), as bytes: rsa_encrypt(key), rsa_encrypt(key, 'oaep')")
HM_FILTER(VERIFY, "verify", 3, 3,
	  "true when a signature (bytes) of the text fits: verify('RS256'|'RS1'|'PS256'|'ES256'|'EdDSA', "
	  "key, signature); "
	  "key: public key or certificate, PEM, base64 DER, or raw Ed25519 (none: false)")
HM_FILTER(EQUALS, "equals", 1, 1,
	  "true when both texts are there, not empty and the same, in a time that does not tell where they "
	  "differ (none: "
	  "false)")
HM_FILTER(AES_CBC_DECRYPT, "aes_cbc_decrypt", 2, 3,
	  "clear bytes: aes_cbc_decrypt(key, iv), with PKCS#7 padding to 16 bytes, or (key, iv, 32); none "
	  "when it does not fit")
HM_FILTER(AES_CBC_ENCRYPT, "aes_cbc_encrypt", 2, 3, "the other way round, as bytes")
HM_FILTER(AES_GCM_DECRYPT, "aes_gcm_decrypt", 2, 3,
	  "clear bytes of text and 16 bytes of tag: aes_gcm_decrypt(key, nonce), aes_gcm_decrypt(key, nonce, "
	  "additional); none "
	  "when the tag does not fit")
HM_FILTER(ENVELOPE_OPEN, "envelope_open", 1, 1,
	  "the text in a clear WeCom or DingTalk envelope (16 random bytes, length, text, receiver); none "
	  "unless it names this "
	  "receiver")
HM_FILTER(ENVELOPE_SEAL, "envelope_seal", 1, 1, "such an envelope around a text, to be encrypted")
HM_FILTER(WITH_PORT, "with_port", 0, 0, "a URL with its port written out, also the scheme's own")
HM_FILTER(WITH_QUERY, "with_query", 2, 2,
	  "a URL with one more query parameter: callback_url | with_query(\"id\", id); none as value leaves "
	  "it as it is")
HM_FILTER(SORT, "sort", 0, 0, "pairs by name and then value, lists by text (bytes)")
HM_FILTER(DISTINCT, "distinct", 0, 0, "pairs and elements, each once, where it first stands")
HM_FILTER(FLAT, "flat", 0, 0, "lists in a list, to any depth, as one list")
HM_FILTER(WITHOUT, "without", 1, 8, "pairs except these names")
HM_FILTER(ONLY, "only", 1, 16, "pairs with these names")
HM_FILTER(WITH, "with", 2, 2,
	  "a map with a member more or another value: with(name, value); without name or value as it was "
	  "(none: an empty map)")
HM_FILTER(NONEMPTY, "nonempty", 0, 0, "pairs and elements that are not empty")
HM_FILTER(PAIRS, "pairs", 2, 3, "pairs as text: pairs('=', '&'), pairs('=', '&', 'url'|'form')")
HM_FILTER(REQUIRE, "require", 1, 1,
	  "the value; none or empty refuses the message, saying what is missing (none allowed)")
HM_LAMBDA(MAP, "map", 1, 1, "list of the argument's value for each element (none ones left out)")
HM_LAMBDA(FILTER, "where", 1, 1, "list of the elements for which the argument is true")
HM_LAMBDA(ANY, "any", 1, 1, "true when the argument is true for one element (none: false)")
HM_LAMBDA(EVERY, "every", 1, 1,
	  "true when there are elements and the argument is true for each (none: false)")
