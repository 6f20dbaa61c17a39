/*
 * Oracle.java - FreeMarker's own answer to rows of the conformance files
 *
 * Reads rows (one JSON object a line: id template data format locale timezone fragments) from standard input
 * and prints {"id", "ok", "output"} or {"id", "ok", "error", "message"} for each, in order: the same answers as
 * `hermod render --cases`. The settings are those of ../templates/README.md.
 */
import freemarker.core.Environment;
import freemarker.core.HTMLOutputFormat;
import freemarker.core.InvalidReferenceException;
import freemarker.core.JSONOutputFormat;
import freemarker.core.OutputFormat;
import freemarker.core.ParseException;
import freemarker.core.PlainTextOutputFormat;
import freemarker.core.UnexpectedTypeException;
import freemarker.core.XMLOutputFormat;
import freemarker.cache.StringTemplateLoader;
import freemarker.template.Configuration;
import freemarker.template.DefaultObjectWrapper;
import freemarker.template.Template;
import freemarker.template.TemplateException;
import freemarker.template.TemplateExceptionHandler;
import java.io.*;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.*;

public class Oracle {
	/* ---- JSON: objects keep their order, numbers are decimal ---- */
	static final class Json {
		final String s;
		int i;

		Json(String s) { this.s = s; }

		RuntimeException bad() { return new IllegalArgumentException("JSON: character " + i); }

		char peek() {
			while (i < s.length() && s.charAt(i) <= ' ')
				i++;
			if (i >= s.length())
				throw bad();
			return s.charAt(i);
		}

		void expect(char c) {
			if (peek() != c)
				throw bad();
			i++;
		}

		Object value() {
			char c = peek();

			if (c == '{') {
				Map<String, Object> m = new LinkedHashMap<>();
				i++;
				if (peek() == '}') {
					i++;
					return m;
				}
				for (;;) {
					peek();
					String k = string();
					expect(':');
					m.put(k, value());
					if (peek() == '}') {
						i++;
						return m;
					}
					expect(',');
				}
			}
			if (c == '[') {
				List<Object> l = new ArrayList<>();
				i++;
				if (peek() == ']') {
					i++;
					return l;
				}
				for (;;) {
					l.add(value());
					if (peek() == ']') {
						i++;
						return l;
					}
					expect(',');
				}
			}
			if (c == '"')
				return string();
			if (word("true"))
				return Boolean.TRUE;
			if (word("false"))
				return Boolean.FALSE;
			if (word("null"))
				return null;
			int from = i;
			while (i < s.length() && "+-.eE0123456789".indexOf(s.charAt(i)) >= 0)
				i++;
			BigDecimal d = new BigDecimal(s.substring(from, i));
			if (d.scale() == 0 && d.precision() <= 9)
				return d.intValueExact();
			return d;
		}

		boolean word(String w) {
			if (!s.startsWith(w, i))
				return false;
			i += w.length();
			return true;
		}

		String string() {
			StringBuilder b = new StringBuilder();

			if (s.charAt(i++) != '"')
				throw bad();
			for (;;) {
				char c = s.charAt(i++);
				if (c == '"')
					return b.toString();
				if (c != '\\') {
					b.append(c);
					continue;
				}
				c = s.charAt(i++);
				switch (c) {
				case 'n': b.append('\n'); break;
				case 't': b.append('\t'); break;
				case 'r': b.append('\r'); break;
				case 'b': b.append('\b'); break;
				case 'f': b.append('\f'); break;
				case 'u':
					b.append((char) Integer.parseInt(s.substring(i, i + 4), 16));
					i += 4;
					break;
				default: b.append(c);
				}
			}
		}
	}

	static void quote(StringBuilder b, String s) {
		b.append('"');
		for (int i = 0; i < s.length(); i++) {
			char c = s.charAt(i);
			if (c == '"' || c == '\\')
				b.append('\\').append(c);
			else if (c < ' ' || Character.isSurrogate(c) || c == '\u2028' || c == '\u2029')
				b.append(String.format("\\u%04x", (int) c));
			else
				b.append(c);
		}
		b.append('"');
	}

	/* ---- FreeMarker ---- */
	static final class Full extends RuntimeException { Full() { super("the output is too long"); } }

	static final class Out extends Writer {
		final StringBuilder b = new StringBuilder();

		@Override public void write(char[] c, int off, int len) {
			b.append(c, off, len);
			if (b.length() > 1 << 20)
				throw new Full();
		}

		@Override public void flush() {}
		@Override public void close() {}
	}

	static Configuration configuration(OutputFormat format, Map<String, Object> fragments) {
		Configuration cfg = new Configuration(Configuration.VERSION_2_3_31);
		DefaultObjectWrapper w = new DefaultObjectWrapper(Configuration.VERSION_2_3_31);
		StringTemplateLoader loader = new StringTemplateLoader();

		cfg.setObjectWrapper(w);
		cfg.setLocale(Locale.US);
		cfg.setTimeZone(TimeZone.getTimeZone("UTC"));
		cfg.setNumberFormat("computer");
		cfg.setDateFormat("iso");
		cfg.setTimeFormat("iso");
		cfg.setDateTimeFormat("iso");
		cfg.setOutputFormat(format);
		cfg.setAutoEscapingPolicy(Configuration.ENABLE_IF_DEFAULT_AUTO_ESCAPING_POLICY);
		cfg.setInterpolationSyntax(Configuration.DOLLAR_INTERPOLATION_SYNTAX);
		cfg.setTagSyntax(Configuration.ANGLE_BRACKET_TAG_SYNTAX);
		cfg.setNamingConvention(Configuration.LEGACY_NAMING_CONVENTION);
		cfg.setWhitespaceStripping(true);
		cfg.setURLEscapingCharset("UTF-8");
		cfg.setDefaultEncoding("UTF-8");
		cfg.setLocalizedLookup(false);
		cfg.setTemplateExceptionHandler(TemplateExceptionHandler.RETHROW_HANDLER);
		cfg.setLogTemplateExceptions(false);
		cfg.setAttemptExceptionReporter((e, env) -> {});
		cfg.clearSharedVariables();
		if (fragments != null)
			for (Map.Entry<String, Object> f : fragments.entrySet())
				if (f.getValue() instanceof String)
					loader.putTemplate(f.getKey(), (String) f.getValue());
		cfg.setTemplateLoader(loader);
		return cfg;
	}

	static final Map<String, OutputFormat> FORMATS = Map.of("plain", PlainTextOutputFormat.INSTANCE, "html",
		HTMLOutputFormat.INSTANCE, "xml", XMLOutputFormat.INSTANCE, "json", JSONOutputFormat.INSTANCE);
	static final Map<String, Configuration> CONFIGURATIONS = new HashMap<>();

	static String errorClass(Throwable e) {
		if (e instanceof ParseException)
			return "parse";
		for (Throwable c = e; c != null; c = c.getCause())
			if (c instanceof ParseException && e.getMessage() != null &&
			    e.getMessage().startsWith("Template inclusion failed"))
				return "parse";
		for (Throwable c = e; c != null; c = c.getCause())
			if (c instanceof InvalidReferenceException ||
			    c.getMessage() != null && c.getMessage().contains("was null or missing"))
				return "undefined";
		if (e instanceof UnexpectedTypeException)
			return "type";
		return "other";
	}

	@SuppressWarnings("unchecked")
	static String answer(String line) {
		StringBuilder b = new StringBuilder("{\"id\": ");
		Map<String, Object> row = (Map<String, Object>) new Json(line).value();
		String format = (String) row.getOrDefault("format", "plain");
		Map<String, Object> fragments = (Map<String, Object>) row.get("fragments");
		Object id = row.get("id");

		quote(b, String.valueOf(id));
		try {
			Configuration cfg;
			if (fragments != null)
				cfg = configuration(FORMATS.get(format), fragments);
			else
				cfg = CONFIGURATIONS.computeIfAbsent(
					format, f -> configuration(FORMATS.get(f), null));
			Template t = new Template(null, null, new StringReader((String) row.get("template")), cfg);
			Out out = new Out();
			Environment env = t.createProcessingEnvironment(row.get("data"), out);
			String locale = (String) row.get("locale"), zone = (String) row.get("timezone");
			if (locale != null) {
				String[] p = locale.split("_");
				env.setLocale(p.length > 1 ? new Locale(p[0], p[1]) : new Locale(p[0]));
			}
			if (zone != null)
				env.setTimeZone(TimeZone.getTimeZone(zone));
			env.process();
			b.append(", \"ok\": true, \"output\": ");
			quote(b, out.b.toString());
		} catch (ThreadDeath e) {
			b.append(", \"ok\": false, \"error\": \"timeout\", \"message\": \"\"");
		} catch (Throwable e) {
			b.append(", \"ok\": false, \"error\": ");
			quote(b, e instanceof StackOverflowError || e instanceof Full || e instanceof OutOfMemoryError ? "limit" : errorClass(e));
			b.append(", \"message\": ");
			String m = e instanceof TemplateException ? ((TemplateException) e).getMessageWithoutStackTop()
								  : String.valueOf(e);
			quote(b, String.valueOf(m));
		}
		return b.append('}').toString();
	}

	/* ---- one worker with a clock behind it ---- */
	static volatile long began;
	static volatile Thread worker;

	public static void main(String[] args) throws Exception {
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		PrintStream out = new PrintStream(new FileOutputStream(FileDescriptor.out), false, "UTF-8");

		freemarker.log.Logger.selectLoggerLibrary(freemarker.log.Logger.LIBRARY_NONE);
		answer("{\"id\": \"warm\", \"template\": \"<#list xs as x>${x}${h.a}</#list>${1.5?string('0')}\", \"data\": {\"xs\": [1], \"h\": {\"a\": 1}}}");
		Thread w = new Thread(null, () -> {
			try {
				for (String line; (line = in.readLine()) != null;) {
					if (line.isBlank())
						continue;
					began = System.nanoTime();
					String a = answer(line);
					began = 0;
					out.println(a);
					if (!in.ready())
						out.flush();
				}
			} catch (IOException e) {
				throw new UncheckedIOException(e);
			}
			out.flush();
		}, "rows", 16 << 20);
		w.start();
		for (;;) {
			w.join(250);
			if (!w.isAlive())
				return;
			long b = began;
			if (b != 0 && System.nanoTime() - b > 3_000_000_000L) {
				began = System.nanoTime();
				w.stop();
			}
		}
	}
}
