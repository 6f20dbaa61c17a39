/*
 * Render.java - the peer of micro_render: FreeMarker on the same templates, the same lines in and out
 *
 *   echo "a 2" | java -cp freemarker.jar:CLASSES Render bench/templates
 *
 * One thread. The template and the data (plain maps, lists, strings, numbers) are built once; every render goes
 * into one char buffer that is emptied, never freed: no lock and no copy as StringWriter has. Encoding the text as UTF-8,
 * which a sender would need, is left out. The output is compared with NAME.out before and after a run. Answer:
 *   NAME RENDERS NANOSECONDS CPU_NANOSECONDS OUTPUT_BYTES HEAP_BYTES_PER_RENDER 0
 */
import freemarker.core.HTMLOutputFormat;
import freemarker.core.PlainTextOutputFormat;
import freemarker.template.Configuration;
import freemarker.template.Template;
import freemarker.template.TemplateExceptionHandler;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.Writer;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TimeZone;

public class Render {
	/** Characters in an array that stays. */
	static final class Chars extends Writer {
		char[] p = new char[16384];
		int n;

		private void room(int more) {
			if (p.length - n < more)
				p = java.util.Arrays.copyOf(p, Math.max(p.length * 2, n + more));
		}

		@Override public void write(int c) {
			room(1);
			p[n++] = (char) c;
		}

		@Override public void write(char[] s, int from, int len) {
			room(len);
			System.arraycopy(s, from, p, n, len);
			n += len;
		}

		@Override public void write(String s) {
			write(s, 0, s.length());
		}

		@Override public void write(String s, int from, int len) {
			room(len);
			s.getChars(from, from + len, p, n);
			n += len;
		}

		@Override public void flush() {}

		@Override public void close() {}

		@Override public String toString() {
			return new String(p, 0, n);
		}
	}

	/** JSON to plain Java values; the files are known to be well-formed. */
	static final class Json {
		final String s;
		int i;

		Json(String s) {
			this.s = s;
		}

		char skip() {
			while (Character.isWhitespace(s.charAt(i)) || s.charAt(i) == ',' || s.charAt(i) == ':')
				i++;
			return s.charAt(i);
		}

		Object value() {
			switch (skip()) {
			case '{': {
				Map<String, Object> m = new HashMap<>();
				for (i++; skip() != '}';) {
					String key = string();
					m.put(key, value());
				}
				i++;
				return m;
			}
			case '[': {
				List<Object> l = new ArrayList<>();
				for (i++; skip() != ']';)
					l.add(value());
				i++;
				return l;
			}
			case '"': return string();
			default: {
				int from = i;
				while (i < s.length() && "},] \n\r\t".indexOf(s.charAt(i)) < 0)
					i++;
				String word = s.substring(from, i);
				if (word.equals("null"))
					return null;
				if (word.equals("true") || word.equals("false"))
					return Boolean.valueOf(word);
				if (word.matches("-?[0-9]+"))
					return Integer.valueOf(word);
				return Double.valueOf(word);
			}
			}
		}

		String string() {
			StringBuilder b = new StringBuilder();
			for (i++; s.charAt(i) != '"'; i++) {
				char c = s.charAt(i);
				if (c == '\\') {
					c = s.charAt(++i);
					switch (c) {
					case 'n': c = '\n'; break;
					case 't': c = '\t'; break;
					case 'r': c = '\r'; break;
					case 'b': c = '\b'; break;
					case 'f': c = '\f'; break;
					case 'u':
						c = (char) Integer.parseInt(s.substring(i + 1, i + 5), 16);
						i += 4;
						break;
					default: break;
					}
				}
				b.append(c);
			}
			i++;
			return b.toString();
		}
	}

	static final class Subject {
		final String name, want;
		final int bytes;
		final Template template;
		final Object data;
		final Chars out = new Chars();

		Subject(Path dir, String name) throws Exception {
			String text = Files.readString(dir.resolve(name + ".ftl"));
			boolean html = text.startsWith("<!DOCTYPE html>");
			this.name = name;
			want = Files.readString(dir.resolve(name + ".out"));
			bytes = want.getBytes(StandardCharsets.UTF_8).length;
			data = new Json(Files.readString(dir.resolve(name + ".json"))).value();
			template = new Template(name, text, configuration(html));
		}

		void render() throws Exception {
			out.n = 0;
			template.process(data, out);
		}

		void check() throws Exception {
			render();
			if (!out.toString().equals(want))
				throw new IllegalStateException(name + ": the output is not that of the .out file");
		}

		static Configuration configuration(boolean html) throws Exception {
			Configuration c = new Configuration(Configuration.VERSION_2_3_31);
			c.setLocale(Locale.US);
			c.setTimeZone(TimeZone.getTimeZone("UTC"));
			c.setNumberFormat("computer");
			c.setDateFormat("iso");
			c.setTimeFormat("iso");
			c.setDateTimeFormat("iso");
			c.setOutputFormat(html ? HTMLOutputFormat.INSTANCE : PlainTextOutputFormat.INSTANCE);
			c.setInterpolationSyntax(Configuration.DOLLAR_INTERPOLATION_SYNTAX);
			c.setTagSyntax(Configuration.ANGLE_BRACKET_TAG_SYNTAX);
			c.setNamingConvention(Configuration.LEGACY_NAMING_CONVENTION);
			c.setTemplateExceptionHandler(TemplateExceptionHandler.RETHROW_HANDLER);
			c.setLogTemplateExceptions(false);
			c.setWrapUncheckedExceptions(true);
			return c;
		}
	}

	public static void main(String[] args) throws Exception {
		com.sun.management.ThreadMXBean threads = (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();
		long self = Thread.currentThread().getId();
		Map<String, Subject> subjects = new HashMap<>();
		BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
		for (String line; (line = in.readLine()) != null;) {
			String[] word = line.trim().split(" +");
			Subject s = subjects.get(word[0]);
			if (s == null)
				subjects.put(word[0], s = new Subject(Path.of(args[0]), word[0]));
			s.check();
			long renders = 0, heap = threads.getThreadAllocatedBytes(self), cpu = threads.getCurrentThreadCpuTime();
			long t0 = System.nanoTime(), end = t0 + (long) (Double.parseDouble(word[1]) * 1e9), t;
			do {
				for (int i = 0; i < 256; i++)
					s.render();
				renders += 256;
				t = System.nanoTime();
			} while (t < end);
			cpu = threads.getCurrentThreadCpuTime() - cpu;
			heap = threads.getThreadAllocatedBytes(self) - heap;
			s.check();
			System.out.println(s.name + " " + renders + " " + (t - t0) + " " + cpu + " " + s.bytes + " " + heap / renders + " 0");
			System.out.flush();
		}
	}
}
