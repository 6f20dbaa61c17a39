"""
The two extensions, modelled from their description alone: a template that uses them is rewritten to FreeMarker's
language (`>` to gt, `{a.b}` to `${a.b}`), and FreeMarker answers for the rewritten one.
"""
import re

RESERVED = {"true", "false", "gt", "gte", "lt", "lte", "as", "in", "using"}
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
NUMBER = re.compile(r"\d+(\.\d+)?")
STEP = re.compile(r"[.?][A-Za-z_][A-Za-z0-9_]*")
CLOSING = {"(": ")", "[": "]", "{": "}"}
TOKEN = re.compile(r"""
    (?P<comment><\#--.*?-->) | (?P<string>r?"(?:[^"\\]|\\.)*"|r?'(?:[^'\\]|\\.)*')
  | (?P<compare>==|!=|<=|=|<|&lt;=|&lt;|&gt;=|&gt;|\\lte|\\lt|\\gte|\\gt) | (?P<logic>&amp;&amp;|&&|\|\||&|\||\\and)
  | (?P<arrow>->) | (?P<end>/>) | (?P<more>>=?) | (?P<word>[^\W\d]\w*) | (?P<open>[(\[{]) | (?P<close>[)\]}])
  | (?P<exists>\?\?) | (?P<blank>\s+) | (?P<other>.)""", re.S | re.X)


# -- `>` in conditions ------------------------------------------------------------------

def behind_brackets(s, i):
    """Behind the partner of the bracket at i; -1: there is none."""
    stack = []
    while i < len(s):
        m = TOKEN.match(s, i)
        if m.lastgroup == "open":
            stack.append(CLOSING[m[0]])
        elif m.lastgroup == "close":
            if m[0] != stack.pop():
                return -1
            if not stack:
                return m.end()
        elif "\n" in m[0]:
            return -1
        i = m.end()
    return -1


def behind_operand(s, i):
    """Rule 2. Behind the operand at i; -1: there is none."""
    while s[i:i + 1] in (" ", "\t"):
        i += 1
    if s[i:i + 1] in ("+", "-"):
        i += 1
    m = NUMBER.match(s, i)
    if m:
        return m.end()
    m = NAME.match(s, i)
    if m:
        if m[0] in RESERVED:
            return -1
        i = m.end()
    elif s[i:i + 1] == "(":
        i = behind_brackets(s, i)
    else:
        return -1
    while i >= 0:
        m = STEP.match(s, i)
        if m:
            i = m.end()
        elif s[i:i + 1] in ("(", "["):
            i = behind_brackets(s, i)
        else:
            break
    return i


def fits_behind(s, i):
    """Rule 3."""
    j = i
    while s[j:j + 1] in (" ", "\t"):
        j += 1
    if s[j:j + 1] == ">":
        return s[j:j + 2] != ">>"
    return re.compile(r"\s*(&&|\|\||&amp;&amp;)").match(s, j) is not None


def fits_before(left):
    """Rule 1. left: tokens since the tag's name or the last && || & |"""
    left = [t for t in left if t[0] not in ("blank", "comment")]
    depth = 0
    for kind, text in left:
        depth += (kind == "open") - (kind == "close")
        if depth == 0 and (kind in ("compare", "more") or text in ("lt", "lte", "gt", "gte")):
            return False
    if not left or left[0][1] == "!" or left[-1][0] == "exists":
        return False
    return not (len(left) == 1 and (left[0][0] == "string" or left[0][1] in ("true", "false")))


def condition(s, i):
    """The condition at i rewritten, and where it ends; None: it does not."""
    out, left, depth = "", [], 0
    while i < len(s):
        m = TOKEN.match(s, i)
        kind, text = m.lastgroup, m[0]
        if kind == "arrow" and depth == 0:
            kind, text = "other", "-"
        elif kind == "end":
            if depth == 0:
                return out + "/>", m.end()
            kind, text = "other", "/"
        elif kind == "more":
            operand = behind_operand(s, m.end())
            if depth == 0 and not (fits_before(left) and operand >= 0 and fits_behind(s, operand)):
                return out + ">", i + 1
            text = " gte " if text == ">=" else " gt "
            i = m.end() - len(text)
        depth += (kind == "open") - (kind == "close")
        left = [] if kind == "logic" and depth == 0 else left + [(kind, text)]
        out += text
        i += len(text)
    return None


def rewrite_conditions(s):
    out, i = "", 0
    for m in iter(lambda: re.compile(r"<#(?:if|elseif)\s").search(s, i), None):
        out += s[i:m.end()]
        r = condition(s, m.end())
        if r is None:
            return "<#if"  # does not compile either way
        out += r[0]
        i = r[1]
    return out + s[i:]


LEFT = ("age n s?length u.age xs?size xs[0] (age) vip no !vip !(no) name?? (u.zz)?? true false \"a\" price n*m s zero!0 (n!0) -n +n "
        "(a>b) [a>b]?first h[\"k\"] xs?filter(q->q>1)?size 客 age?string").split() + [
            "n + m", "age - 5", "age == 35", "n lt 3", "a <= b", '"x>y" == s', "n gt m", "", "a &lt; b", "<#-- > -->n", "n<#-- c -->",
            "!vip || n", "vip && n", "vip & n", "no | n", "vip &amp;&amp; n"]
RIGHT = ("5 30 3.5 b limit name m xs?size u.age (n) n*m limit*2 5% 5x -3 +m \"a\" true lt n!0 xs[0] s?length u.cart[1] u[\"age\"] (n)?abs 客 "
         "10+ nope Go T _x 3. .5 n?string(\"0\") xs?filter(q->q>1)?size n?? !n 5.5.5 u.age?c 1e3 n.k (n>m) (n").split() + [
             "(n + m)", "- 3", "5 off", "x y", 's?keep_before(">")']
AFTER = ["> ", ">", ">", " >", ">>", "> >", ">=", "&&", " && ", "||", "&amp;&amp;", "&", "\n>", "\n&& ", " + 1>", "!>", "<", "/>", ">5>", ">b>"]
TEXT = ["x", "yes", "T>F", "5>3", "18+ only", "a", "", ">", ">>", "Go>x", "<b>", "= 5", " text", "&gt;", "客>x", "x -> y"]


def random_condition(rnd):
    blank = lambda: rnd.choice(("", "", " ", " ", "  ", "\t", "\n"))
    s = rnd.choice(LEFT) + blank()
    for _ in range(rnd.choice((0, 1, 1, 1, 2))):
        s += rnd.choice((">", ">", ">=")) + blank() + rnd.choice(RIGHT) + blank()
    if rnd.random() < 0.3:
        s += rnd.choice((" && ", "||", "&", " &amp;&amp; ")) + rnd.choice(LEFT) + blank() + rnd.choice(("", "> " + rnd.choice(RIGHT)))
    return s


def random_conditions(rnd):
    s = "<#if " + random_condition(rnd) + rnd.choice(AFTER) + rnd.choice(TEXT)
    if rnd.random() < 0.3:
        s += "<#elseif " + random_condition(rnd) + rnd.choice(AFTER) + rnd.choice(TEXT)
    return s + rnd.choice(("", "<#else>" + rnd.choice(TEXT))) + "</#if>" + rnd.choice(("", "end"))


# -- {name} -------------------------------------------------------------------------------

LETTER = "A-Za-z_éàЖ一-鿿"
PLACEHOLDER = re.compile(r"\$\{[^}]*\}|\{([%s][%s0-9]*(?:\.[%s][%s0-9]*)*)\}" % ((LETTER,) * 4))
BRACES = ("{name} {u.age} { name } {} {0} {a-b} {\"a\":1} {color:red} {s?upper_case} {nope!'x'} {{name}} {{{n}}} ${n} $${n} #{n} \\{n} %{n} {客} {é} "
          "{u.n.k} {u.} {.u} {u..n} {true} {gt} {gt1} {in} {u.in} {as.x} {_x} {9a} {a9} {nope} {vip} {xs} {n {n}{m} {n}} {$n} {n$} {@n} "
          "{using} {u.true} {name}:{n} {return;}").split() + ["$ {n}", "{\nn}", "{u. age}", "{n}\n", " \n", "text"]
AROUND = [("<#if vip>", "</#if>"), ('<#if {"a": 1}.a == 1>', "</#if>"), ("<#list xs as x>", "</#list>"), ("<#assign q>", "</#assign>${q}"),
          ("<#escape z as z?upper_case>", "</#escape>")]
ELSEWHERE = ["<#-- {name} -->", "<#noparse>{name}${n}</#noparse>", '${"{name}"}', '${"a{n}b"}', '<#assign q = {"a": "b"}>']


def rewrite_braces(text):
    return PLACEHOLDER.sub(lambda m: "$" + m[0] if m[1] and m[1].split(".")[0] not in RESERVED else m[0], text)


def random_braces(rnd):
    """A template and its rewritten form."""
    text, model = "", ""
    for _ in range(rnd.randint(1, 4)):
        piece = "".join(rnd.choice(BRACES) for _ in range(rnd.randint(1, 3)))
        before, after = rnd.choice(AROUND) if rnd.random() < 0.3 else ("", "")
        other = rnd.choice(ELSEWHERE)
        text += before + piece + after + other
        model += before + rewrite_braces(piece) + after + other
    return text, model


# -- rows -----------------------------------------------------------------------------------

DATA = {"age": 35, "vip": True, "no": False, "n": 5, "m": 3, "a": 4, "b": 5, "limit": 30, "name": "Yan", "xs": [4, 1], "s": "abcd", "price": 99.5,
        "u": {"age": 40, "cart": [1, 2, 3], "n": {"k": "v"}}, "zero": 0, "h": {"k": 7}, "客": "甲", "é": "E", "_x": "<u>", "gt1": "q"}


def pair(rnd, what):
    """A row for hermod, and the one FreeMarker answers."""
    row = {"data": DATA, "format": rnd.choice(("plain", "html", "json"))}
    if what == "gt":
        text = random_conditions(rnd)
        return dict(row, template=text), dict(row, template=rewrite_conditions(text))
    text, model = random_braces(rnd)
    return dict(row, template=text, braces=True), dict(row, template=model)
