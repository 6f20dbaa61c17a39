/* HM_FIELD_TYPE(NAME, text, what a value of it is called in sentences) */
HM_FIELD_TYPE(STRING, "string", "a string")
HM_FIELD_TYPE(NUMBER, "number", "a number")
HM_FIELD_TYPE(INTEGER, "integer", "a whole number")
HM_FIELD_TYPE(BOOLEAN, "boolean", "true or false")
HM_FIELD_TYPE(DATE, "date", "a date (ISO 8601 text, or milliseconds since 1970)")
HM_FIELD_TYPE(LIST, "list", "a list")
HM_FIELD_TYPE(MAP, "map", "a map")
HM_FIELD_TYPE(ANY, "any", "anything")
