#include "codec/portable_json.hpp"

#include <cmath>

#include "dbos/codec.hpp"
#include "value/text.hpp"
#include "value/time_text.hpp"

namespace dbos {
namespace {

constexpr std::string_view kName = "portable_json";
constexpr std::int64_t kSafeInteger = (std::int64_t{1} << 53U) - 1;

class Writer {
   public:
    /// `depth`: levels that the caller writes around the values.
    Writer(const PortableOptions& options, const JsonLimits& limits, std::size_t depth = 0)
        : options_(options), limits_(limits), depth_(depth) {}

    void value(const Value& v, const Path& path) {
        if (++nodes_ > limits_.nodes) refuse(path, "more than " + std::to_string(limits_.nodes) + " values");
        switch (v.kind()) {
            case Kind::null: out_ += "null"; return;
            case Kind::boolean: out_ += v.as_bool() ? "true" : "false"; return;
            case Kind::integer:
                if (v.as_int() > kSafeInteger || v.as_int() < -kSafeInteger) check_unsafe(path);
                append_json_integer(out_, v.as_int());
                return;
            case Kind::big_integer: big_integer(v.integer_text(), path); return;
            case Kind::number:
                if (!std::isfinite(v.as_double())) refuse(path, "NaN and infinities have no form in JSON");
                append_json_number(out_, v.as_double());
                return;
            case Kind::string: string(v.as_string(), path); return;
            case Kind::bytes: refuse(path, "bytes have no form in JSON: send base64 text in a std::string");
            case Kind::timestamp: timestamp(v.as_timestamp(), path); return;
            case Kind::array: array(v.as_array(), path); return;
            case Kind::object: object(v.as_object(), path); return;
            case Kind::opaque: opaque(v, path); return;
        }
    }

    void member(const char* key, bool first) {
        if (!first) out_.push_back(',');
        out_ += '"';
        out_ += key;
        out_ += "\":";
    }

    void raw(std::string_view text) { out_ += text; }

    void string(const std::string& text, const Path& path) {
        if (!append_json_string(out_, text)) {
            refuse(path, has_surrogate(text) ? "a string holds a lone surrogate, which UTF-8 cannot"
                                             : "a string is not valid UTF-8: send bytes as base64 text");
        }
        check_size(path);
    }

    void object(const Object& members, const Path& path) {
        const Level level(*this);
        out_.push_back('{');
        bool first = true;
        for (const auto& [key, item] : members) {
            if (!first) out_.push_back(',');
            first = false;
            const Path inner(path, std::string_view(key));
            string(key, inner);
            out_.push_back(':');
            value(item, inner);
        }
        out_.push_back('}');
    }

    void array(const Array& items, const Path& path) {
        const Level level(*this);
        out_.push_back('[');
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (i > 0) out_.push_back(',');
            value(items[i], Path(path, i));
        }
        out_.push_back(']');
    }

    std::string finish() {
        check_size(Path());
        return std::move(out_);
    }

   private:
    class Level {
       public:
        explicit Level(Writer& writer) : writer_(writer) {
            if (++writer_.depth_ > writer_.limits_.depth) {
                // The path of the limit's depth would be longer than the text.
                throw EncodeError("$",
                                  "nesting of more than " + std::to_string(writer_.limits_.depth) + " levels",
                                  std::string(kName));
            }
        }
        ~Level() { --writer_.depth_; }
        Level(const Level&) = delete;
        Level& operator=(const Level&) = delete;

       private:
        Writer& writer_;
    };

    [[noreturn]] static void refuse(const Path& path, const std::string& reason) {
        throw EncodeError(path.text(), reason, std::string(kName));
    }

    void check_unsafe(const Path& path) const {
        if (!options_.refuse_unsafe_integers) return;
        refuse(
            path,
            "an integer beyond 2^53 - 1 would be rounded by TypeScript, and refuse_unsafe_integers is set");
    }

    void check_size(const Path& path) const {
        if (out_.size() > limits_.bytes) {
            refuse(path, "the text is larger than " + std::to_string(limits_.bytes) + " bytes");
        }
    }

    void big_integer(const std::string& text, const Path& path) {
        check_unsafe(path);
        if (text.size() > limits_.digits + (text.front() == '-' ? 1 : 0)) {
            refuse(path, "an integer of more than " + std::to_string(limits_.digits) +
                             " digits, which Python refuses to read");
        }
        out_ += text;
    }

    void timestamp(const Timestamp& time, const Path& path) {
        const bool fine = time.nanos % 1'000'000 != 0;
        if (fine && options_.refuse_sub_millisecond) {
            refuse(path, "an instant finer than a millisecond would be cut by Python and TypeScript");
        }
        const int digits = !fine ? 3 : time.nanos % 1000 == 0 ? 6 : 9;
        out_ += '"' + format_utc(time, digits) + '"';
    }

    // Kinds beyond JSON that have a customary form in it; all others are refused.
    void opaque(const Value& v, const Path& path) {
        const Opaque& o = v.as_opaque();
        const Value& inner = v.plain();
        if (o.module.empty() && &inner != &v) {
            if (o.name == "tuple" || o.name == "set" || o.name == "int" || o.name == "float" ||
                o.name == "number") {
                value(inner, path);
                return;
            }
            if (o.name == "decimal" && finite_decimal(inner)) {
                string(inner.as_string(), path);
                return;
            }
        }
        const Value* entries = o.module.empty() && o.name == "map" ? o.state.find("entries") : nullptr;
        if (entries != nullptr) {
            Object scratch;
            try {
                object(detail::decode_object(v, path, scratch), path);
                return;
            } catch (const DecodeError&) {
                refuse(path, "a map whose keys are not all texts has no form in JSON");
            }
        }
        refuse(path, v.describe() + " has no form in JSON");
    }

    static bool finite_decimal(const Value& text) {
        return text.kind() == Kind::string && !text.as_string().empty() &&
               text.as_string().find_first_not_of("+-0123456789.eE") == std::string::npos;
    }

    const PortableOptions& options_;
    const JsonLimits& limits_;
    std::string out_;
    std::size_t depth_;
    std::size_t nodes_ = 0;
};

[[noreturn]] void bad_shape(const char* path, const char* expected, const Value& found) {
    throw DecodeError(path, expected, found.describe(), "bad_shape", std::string(kName));
}

}  // namespace

PortableJson::PortableJson(PortableOptions options, JsonLimits limits) : options_(options), limits_(limits) {}

std::string_view PortableJson::name() const noexcept { return kName; }

std::string PortableJson::encode_inputs(const Arguments& arguments) const {
    Writer writer(options_, limits_, 1);
    const Path path;
    writer.raw("{");
    writer.member("positionalArgs", true);
    writer.array(arguments.positional, path);
    writer.member("namedArgs", false);
    writer.object(arguments.named, path);
    writer.raw("}");
    return writer.finish();
}

Arguments PortableJson::decode_inputs(std::string_view text) const {
    Value record = decode(text);
    if (record.kind() != Kind::object) bad_shape("$", "an object with positionalArgs and namedArgs", record);
    Arguments arguments;
    for (auto& [key, member] : record.as_object()) {
        if (member.is_null()) continue;
        if (key == "positionalArgs") {
            if (member.kind() != Kind::array) bad_shape("$.positionalArgs", "array", member);
            arguments.positional = std::move(member.as_array());
        } else if (key == "namedArgs") {
            if (member.kind() != Kind::object) bad_shape("$.namedArgs", "object", member);
            arguments.named = std::move(member.as_object());
        }
    }
    return arguments;
}

std::string PortableJson::encode(const Value& value) const {
    Writer writer(options_, limits_);
    writer.value(value, Path());
    return writer.finish();
}

Value PortableJson::decode(std::string_view text) const {
    return parse_json(text, {.limits = limits_, .nonfinite = true, .format = kName});
}

std::string PortableJson::encode_error(const Failure& failure) const {
    Writer writer(options_, limits_, 1);
    const Path path;
    writer.raw("{");
    writer.member("name", true);
    writer.string(failure.type_name, path);
    writer.member("message", false);
    writer.string(failure.message, path);
    if (!failure.code.is_null()) {
        writer.member("code", false);
        writer.value(failure.code, path);
    }
    if (!failure.data.is_null()) {
        writer.member("data", false);
        writer.value(failure.data, Path(path, "data"));
    }
    writer.raw("}");
    return writer.finish();
}

Failure PortableJson::decode_error(std::string_view text) const {
    const Value record = decode(text);
    auto failure = portable_failure(record);
    if (!failure) bad_shape("$", "an object with name and message", record);
    failure->raw = std::string(text);
    failure->format = std::string(kName);
    return std::move(*failure);
}

std::optional<Failure> portable_failure(const Value& record) {
    if (record.kind() != Kind::object) return std::nullopt;
    const auto text_of = [&record](std::string_view key, const char* otherwise) -> std::string {
        const Value* found = record.find(key);
        if (found == nullptr || found->is_null()) return otherwise;
        return found->kind() == Kind::string ? found->as_string() : found->dump();
    };
    Failure failure;
    failure.type_name = text_of("name", "Error");
    failure.message = text_of("message", "");
    if (const Value* code = record.find("code")) {
        if (code->kind() == Kind::integer || code->kind() == Kind::string) failure.code = *code;
    }
    if (const Value* data = record.find("data")) failure.data = *data;
    return failure;
}

namespace serializers {
std::shared_ptr<const Serializer> portable_json(PortableOptions options) {
    return std::make_shared<const PortableJson>(options);
}
}  // namespace serializers

}  // namespace dbos
