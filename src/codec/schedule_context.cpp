#include "codec/schedule_context.hpp"

#include "codec/plain_pickle.hpp"
#include "dbos/error.hpp"
#include "value/json.hpp"

namespace dbos {
namespace {

constexpr std::string_view kMarker = "__dbos_serializer";

const Serializer& portable() { return *find_serializer("portable_json"); }

/// The value in TypeScript's envelope. Throws DecodeError for what JSON cannot hold (dates, maps …).
Value from_envelope(const Value& envelope, std::string_view text) {
    const Value* meta = envelope.find("meta");
    const Value* value = envelope.find("json");
    if (meta != nullptr) {
        const Value undefined = Object{{"values", Array{"undefined"}}};
        if (*meta == undefined) return {};
        throw DecodeError("$", "a value of JSON", std::string(text), "unknown_annotation", "js_superjson");
    }
    return value != nullptr ? *value : Value();
}

}  // namespace

std::string write_schedule_context(const Value& context, ScheduleStyle style, const Serializer& own) {
    switch (style) {
        case ScheduleStyle::python: return write_plain_pickle(context);
        case ScheduleStyle::typescript:
            return "{\"json\":" +
                   serializers::portable_json({.refuse_unsafe_integers = true})->encode(context) + ",\"" +
                   std::string(kMarker) + "\":\"superjson\"}";
        case ScheduleStyle::go: return portable().encode(context);
        default: return own.encode(context);
    }
}

Value read_schedule_context(std::string_view text, const Serializer& own) {
    if (own.name() != "portable_json") return own.decode(text);
    if (looks_like_pickle(text)) return read_plain_pickle(text);
    Value value = own.decode(text);
    const Value* marker = value.find(kMarker);
    if (marker != nullptr && *marker == Value("superjson")) return from_envelope(value, text);
    return value;
}

}  // namespace dbos
