#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "value/json.hpp"
#include "value/json_scan.hpp"

namespace dbos {
namespace {

using Json = nlohmann::json;

// The last of several members with one name wins, at the place of the first.
void drop_duplicates(Object& members) {
    if (members.size() < 2) return;
    std::vector<std::size_t> order(members.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
        const int names = members[a].first.compare(members[b].first);
        return names != 0 ? names < 0 : a < b;
    });
    std::vector<bool> dropped(members.size(), false);
    bool any = false;
    for (std::size_t i = 0; i < order.size();) {
        std::size_t last = i;
        while (last + 1 < order.size() && members[order[last + 1]].first == members[order[i]].first) ++last;
        if (last > i) {
            any = true;
            members[order[i]].second = std::move(members[order[last]].second);
            for (std::size_t j = i + 1; j <= last; ++j) dropped[order[j]] = true;
        }
        i = last + 1;
    }
    if (!any) return;
    Object kept;
    for (std::size_t i = 0; i < members.size(); ++i) {
        if (!dropped[i]) kept.push_back(std::move(members[i]));
    }
    members = std::move(kept);
}

class Builder : public nlohmann::json_sax<Json> {
   public:
    Builder(const JsonReadOptions& options, bool marked) : options_(options), marked_(marked) {}

    bool null() override { return add(Value()); }
    bool boolean(bool value) override { return add(Value(value)); }
    bool number_integer(std::int64_t value) override { return add(Value(value)); }
    bool number_unsigned(std::uint64_t value) override { return add(Value(value)); }
    bool number_float(double value, const std::string& token) override {
        const std::size_t sign = token.front() == '-' ? 1 : 0;
        if (token.find_first_not_of("0123456789", sign) == std::string::npos)
            return add(Value::integer(token));
        if (options_.number_text) return add(Value::annotated("number", {{"value", value}, {"text", token}}));
        return add(Value(value));
    }
    bool string(std::string& text) override {
        return add(marked_ ? marked_string(text) : Value(std::move(text)));
    }
    bool binary(Json::binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(Object()); }
    bool key(std::string& name) override {
        if (marked_) {
            if (token_letter(name) != '\0')
                json::refuse(options_, "bad_json", "JSON", "a member name that is no string");
            name = json::unmark(name);
        }
        stack_.back().key = std::move(name);
        return true;
    }
    bool end_object() override {
        drop_duplicates(stack_.back().container.as_object());
        return close();
    }
    bool start_array(std::size_t) override { return open(Array()); }
    bool end_array() override { return close(); }
    bool parse_error(std::size_t position, const std::string&, const Json::exception& error) override {
        constexpr int number_overflow = 406;
        // What the library says begins with its own class name in brackets.
        std::string text = error.what();
        const auto bracket = text.find("] ");
        if (bracket != std::string::npos) text.erase(0, bracket + 2);
        if (error.id == number_overflow) {
            json::refuse(options_, "bad_number", "a number within the range of a double", text);
        }
        json::refuse(options_, "bad_json", "JSON", "at byte " + std::to_string(position) + " " + text);
    }

    Value take() { return std::move(result_); }

   private:
    struct Frame {
        Value container;
        std::string key = {};
    };

    // The letter behind the mark if the string stands for a token, else NUL.
    static char token_letter(const std::string& text) {
        if (text.size() <= json::kMark.size() || !text.starts_with(json::kMark)) return '\0';
        const char letter = text[json::kMark.size()];
        return std::string_view("npmb").find(letter) == std::string_view::npos ? '\0' : letter;
    }

    static Value marked_string(const std::string& text) {
        using Limits = std::numeric_limits<double>;
        switch (token_letter(text)) {
            case 'n': return Limits::quiet_NaN();
            case 'p': return Limits::infinity();
            case 'm': return -Limits::infinity();
            case 'b': return Value::integer(std::string_view(text).substr(json::kMark.size() + 1));
            default: return json::unmark(text);
        }
    }

    bool add(Value value) {
        if (++nodes_ > options_.limits.nodes) {
            json::refuse(options_, "limit", "at most " + std::to_string(options_.limits.nodes) + " values",
                         "more");
        }
        place(std::move(value));
        return true;
    }

    bool open(Value container) {
        if (stack_.size() >= options_.limits.depth) {
            json::refuse(options_, "depth",
                         "nesting of at most " + std::to_string(options_.limits.depth) + " levels",
                         "deeper nesting");
        }
        if (++nodes_ > options_.limits.nodes) {
            json::refuse(options_, "limit", "at most " + std::to_string(options_.limits.nodes) + " values",
                         "more");
        }
        stack_.push_back({std::move(container)});
        return true;
    }

    bool close() {
        Value finished = std::move(stack_.back().container);
        stack_.pop_back();
        place(std::move(finished));
        return true;
    }

    void place(Value value) {
        if (stack_.empty()) {
            result_ = std::move(value);
            return;
        }
        Frame& frame = stack_.back();
        if (frame.container.kind() == Kind::array) {
            frame.container.as_array().push_back(std::move(value));
        } else {
            frame.container.as_object().emplace_back(std::move(frame.key), std::move(value));
        }
    }

    const JsonReadOptions& options_;
    bool marked_;
    std::size_t nodes_ = 0;
    std::vector<Frame> stack_;
    Value result_;
};

}  // namespace

Value parse_json(std::string_view text, const JsonReadOptions& options) {
    const auto rewritten = json::mark(text, options);
    const std::string_view source = rewritten ? std::string_view(*rewritten) : text;
    Builder builder(options, rewritten.has_value());
    Json::sax_parse(source.begin(), source.end(), &builder);
    return builder.take();
}

}  // namespace dbos
