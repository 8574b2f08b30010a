#include "value/rendering.hpp"

#include <charconv>
#include <cmath>
#include <cstring>

#include "value/json.hpp"
#include "value/text.hpp"
#include "value/time_text.hpp"

namespace dbos {
namespace {

constexpr std::int64_t kSafeInteger = (std::int64_t{1} << 53U) - 1;

class Renderer {
   public:
    void value(const Value& v) {
        switch (v.kind()) {
            case Kind::null: out += "null"; break;
            case Kind::boolean: out += v.as_bool() ? "true" : "false"; break;
            case Kind::integer:
                if (v.as_int() > kSafeInteger || v.as_int() < -kSafeInteger) {
                    tagged("int", {{"value", v.integer_text()}});
                } else {
                    append_json_integer(out, v.as_int());
                }
                break;
            case Kind::big_integer: tagged("int", {{"value", v.integer_text()}}); break;
            case Kind::number: number(v.as_double()); break;
            case Kind::string: text(v.as_string()); break;
            case Kind::bytes: tagged("bytes", {{"base64", to_base64(v.as_bytes())}}); break;
            case Kind::timestamp: timestamp(v.as_timestamp()); break;
            case Kind::array: array(v.as_array()); break;
            case Kind::object: object(v.as_object()); break;
            case Kind::opaque: opaque(v.as_opaque()); break;
        }
    }

    std::string out;

   private:
    void text(const std::string& s) {
        const std::size_t start = out.size();
        if (append_json_string(out, s)) return;
        out.resize(start);
        tagged("str", {{"wtf8_base64", to_base64(s)}});
    }

    void number(double d) {
        if (std::isnan(d)) return tagged("float", {{"value", "NaN"}});
        if (std::isinf(d)) return tagged("float", {{"value", d > 0 ? "Infinity" : "-Infinity"}});
        if (d == 0 && std::signbit(d)) return tagged("float", {{"value", "-0"}});
        // An integral double that digits alone would turn into an integer.
        if (std::fabs(d) > static_cast<double>(kSafeInteger) && std::fabs(d) < 1e21) {
            return tagged("float", {{"value", number_text(d)}});
        }
        append_json_number(out, d);
    }

    void timestamp(const Timestamp& time) {
        tagged("datetime", {{"local", format_local(time)}, {"offset_seconds", time.offset_seconds}});
    }

    void array(const Array& items) {
        out.push_back('[');
        for (std::size_t i = 0; i < items.size(); ++i) {
            if (i > 0) out.push_back(',');
            value(items[i]);
        }
        out.push_back(']');
    }

    void members(const Object& list, bool first) {
        for (const auto& [key, member] : list) {
            if (!first) out.push_back(',');
            first = false;
            if (!append_json_string(out, key)) out += "\"";  // a key of invalid UTF-8: for people only
            out.push_back(':');
            value(member);
        }
    }

    void object(const Object& list) {
        bool reserved = false;
        for (const auto& member : list) reserved = reserved || member.first == "$type";
        if (reserved) {
            Array entries;
            for (const auto& [key, member] : list) entries.emplace_back(Array{key, member});
            return tagged("map", {{"entries", std::move(entries)}});
        }
        out.push_back('{');
        members(list, true);
        out.push_back('}');
    }

    void tagged(std::string_view type, const Object& list) {
        out += "{\"$type\":";
        (void)append_json_string(out, type);
        members(list, false);
        out.push_back('}');
    }

    void opaque(const Opaque& o) {
        const Object* state = o.state.kind() == Kind::object ? &o.state.as_object() : nullptr;
        if (!o.module.empty()) {
            Object list{{"class", o.module + "." + o.name}};
            if (state != nullptr) list.insert(list.end(), state->begin(), state->end());
            return tagged("opaque", list);
        }
        if (state == nullptr) return tagged(o.name, {{"value", o.state}});
        Object list = *state;
        for (auto& [key, member] : list) {
            if (key != "value") continue;
            // Inside an annotation a number is its text, bytes are base64.
            if (member.kind() == Kind::integer || member.kind() == Kind::big_integer)
                member = member.integer_text();
            if (member.kind() == Kind::number) member = number_text(member.as_double());
            if (member.kind() == Kind::bytes) {
                member = to_base64(member.as_bytes());
                key = "base64";
            }
        }
        tagged(o.name, list);
    }

    // As JavaScript prints doubles below 1e21: shortest digits, filled up with zeros.
    static std::string number_text(double d) {
        if (std::isnan(d)) return "NaN";
        if (std::isinf(d)) return d > 0 ? "Infinity" : "-Infinity";
        std::string digits;
        append_json_number(digits, d);
        if (digits.ends_with(".0")) digits.erase(digits.size() - 2);
        if (std::fabs(d) <= static_cast<double>(kSafeInteger) || std::fabs(d) >= 1e21) return digits;
        char buffer[40];
        const auto end = std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
        const std::string scientific(buffer, end);
        const auto mark = scientific.find('e');
        const auto exponent = static_cast<std::size_t>(std::stoi(scientific.substr(mark + 1)));
        const std::string sign = d < 0 ? "-" : "";
        std::string mantissa = scientific.substr(sign.size(), mark - sign.size());
        std::erase(mantissa, '.');
        mantissa.resize(exponent + 1, '0');
        return sign + mantissa;
    }
};

Value all_members(const Object& members, std::string_view except) {
    Object result;
    for (const auto& [key, member] : members) {
        if (key != except) result.emplace_back(key, from_rendering(member));
    }
    return result;
}

const std::string& text_of(const Value& json, std::string_view key) { return json.at(key).as_string(); }

double number_of(const std::string& text) {
    if (text == "NaN") return std::nan("");
    if (text == "Infinity") return HUGE_VAL;
    if (text == "-Infinity") return -HUGE_VAL;
    if (text == "-0") return -0.0;
    return parse_json(text).as_double();
}

Bytes bytes_of(const std::string& base64) {
    const auto raw = from_base64(base64);
    if (!raw) throw DecodeError("$", "base64", "other text", "bad_base64");
    Bytes bytes(raw->size());
    if (!raw->empty()) std::memcpy(bytes.data(), raw->data(), raw->size());
    return bytes;
}

Value with_flavor(const char* type, Value value, const Value& json) {
    const Value* flavor = json.find("flavor");
    if (flavor == nullptr) return value;
    return Value::annotated(type, {{"value", std::move(value)}, {"flavor", *flavor}});
}

Value from_tagged(const std::string& type, const Value& json) {
    if (type == "int") return with_flavor("int", Value::integer(text_of(json, "value")), json);
    if (type == "float") return with_flavor("float", number_of(text_of(json, "value")), json);
    if (type == "bytes") return with_flavor("bytes", bytes_of(text_of(json, "base64")), json);
    if (type == "str") {
        const Bytes raw = bytes_of(text_of(json, "wtf8_base64"));
        return std::string(reinterpret_cast<const char*>(raw.data()), raw.size());
    }
    if (type == "datetime" && json.size() == 3 && !json.at("offset_seconds").is_null()) {
        auto time = parse_rfc3339(text_of(json, "local"), true);
        if (!time) throw DecodeError("$.local", "a date and time", json.at("local").describe());
        time->offset_seconds = static_cast<std::int32_t>(json.at("offset_seconds").as_int());
        time->seconds -= time->offset_seconds;
        return *time;
    }
    Value members = all_members(json.as_object(), "$type");
    if (type == "opaque") {
        const std::string name = text_of(json, "class");
        const auto dot = name.rfind('.');
        if (dot != std::string::npos) {
            std::erase_if(members.as_object(), [](const auto& member) { return member.first == "class"; });
            return Opaque{name.substr(0, dot), name.substr(dot + 1), std::move(members)};
        }
    }
    return Value::annotated(type, std::move(members.as_object()));
}

}  // namespace

std::string render(const Value& value) {
    Renderer renderer;
    renderer.value(value);
    return std::move(renderer.out);
}

Value from_rendering(const Value& json) {
    if (json.kind() == Kind::array) {
        Array items;
        for (const Value& item : json.as_array()) items.push_back(from_rendering(item));
        return items;
    }
    if (json.kind() != Kind::object) return json;
    const Value* type = json.find("$type");
    if (type != nullptr) return from_tagged(type->as_string(), json);
    return all_members(json.as_object(), "$type");
}

}  // namespace dbos
