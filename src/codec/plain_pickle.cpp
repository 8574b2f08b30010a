#include "codec/plain_pickle.hpp"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "dbos/error.hpp"
#include "value/text.hpp"

namespace dbos {
namespace {

constexpr std::size_t kDepth = 512;
constexpr std::size_t kNodes = 1'000'000;

// --- writing

class Writer {
   public:
    std::string text(const Value& value) {
        out_ = "\x80\x04";
        write(value, Path("$"), 0);
        out_ += '.';
        return to_base64(out_);
    }

   private:
    [[noreturn]] static void refuse(const Path& path, const std::string& reason) {
        throw EncodeError(path.text(), reason, "py_pickle");
    }

    void number(std::uint64_t bits, int bytes) {
        for (int i = 0; i < bytes; ++i)
            out_ += static_cast<char>(bits >> static_cast<unsigned>(8 * i) & 255U);
    }

    void integer(std::int64_t value) {
        const auto bits = static_cast<std::uint64_t>(value);
        if (value >= 0 && value <= 255) {
            out_ += 'K';
            number(bits, 1);
        } else if (value >= 0 && value <= 65535) {
            out_ += 'M';
            number(bits, 2);
        } else if (value == static_cast<std::int32_t>(value)) {
            out_ += 'J';
            number(bits, 4);
        } else {
            int bytes = 5;  // the fewest that hold it with its sign
            while (bytes < 8 && value >> (8 * bytes - 1) != (value < 0 ? -1 : 0)) ++bytes;
            out_ += '\x8a';
            number(static_cast<std::uint64_t>(bytes), 1);
            number(bits, bytes);
        }
    }

    void string(const std::string& text, const Path& path) {
        if (find_invalid_utf8(text) != std::string_view::npos) refuse(path, "text that is not UTF-8");
        if (text.size() > std::numeric_limits<std::uint32_t>::max()) refuse(path, "text beyond 4 GiB");
        const bool few = text.size() < 256;
        out_ += few ? '\x8c' : 'X';
        number(text.size(), few ? 1 : 4);
        out_ += text;
    }

    /// A thousand at a time, as Python does; one alone needs no mark.
    template <class Item>
    void batches(std::size_t count, char one, char many, const Item& item) {
        for (std::size_t at = 0; at < count; at += 1000) {
            const std::size_t end = std::min(count, at + 1000);
            if (end - at > 1) out_ += '(';
            for (std::size_t i = at; i < end; ++i) item(i);
            out_ += end - at > 1 ? many : one;
        }
    }

    void write(const Value& value, const Path& path, std::size_t depth) {
        if (depth > kDepth) refuse(path, "nesting beyond 512");
        switch (value.kind()) {
            case Kind::null: out_ += 'N'; return;
            case Kind::boolean: out_ += value.as_bool() ? '\x88' : '\x89'; return;
            case Kind::integer: integer(value.as_int()); return;
            case Kind::number: {
                const auto bits = std::bit_cast<std::uint64_t>(value.as_double());
                out_ += 'G';
                for (int i = 56; i >= 0; i -= 8) out_ += static_cast<char>(bits >> i & 255U);
                return;
            }
            case Kind::string: string(value.as_string(), path); return;
            case Kind::array: {
                out_ += ']';
                const Array& items = value.as_array();
                batches(items.size(), 'a', 'e',
                        [&](std::size_t i) { write(items[i], Path(path, i), depth + 1); });
                return;
            }
            case Kind::object: {
                out_ += '}';
                const Object& members = value.as_object();
                batches(members.size(), 's', 'u', [&](std::size_t i) {
                    string(members[i].first, path);
                    write(members[i].second, Path(path, members[i].first), depth + 1);
                });
                return;
            }
            default: refuse(path, std::string("expected a value of JSON, got ") + to_string(value.kind()));
        }
    }

    std::string out_ = {};
};

// --- reading

[[noreturn]] void refuse(const std::string& expected, const std::string& found, const char* refusal) {
    throw DecodeError("$", expected, found, refusal, "py_pickle");
}

class Reader {
   public:
    explicit Reader(std::string_view bytes) : bytes_(bytes) {}

    Value value() {
        while (step()) {
        }
        if (at_ != bytes_.size()) refuse("the end", "more bytes", "trailing_data");
        if (stack_.size() != 1 || !marks_.empty()) refuse("one value", "another number", "stack_underflow");
        return std::move(stack_.back());
    }

   private:
    std::string_view take(std::uint64_t count) {
        if (count > bytes_.size() - at_) refuse("more bytes", "the end", "truncated");
        const std::string_view taken = bytes_.substr(at_, static_cast<std::size_t>(count));
        at_ += static_cast<std::size_t>(count);
        return taken;
    }
    std::uint64_t number(std::size_t bytes) {
        std::uint64_t value = 0;
        std::size_t shift = 0;
        for (const char c : take(bytes)) {
            value |= std::uint64_t{static_cast<unsigned char>(c)} << shift;
            shift += 8;
        }
        return value;
    }
    void push(Value value) {
        if (++nodes_ > kNodes) refuse("at most a million values", "more", "limit");
        stack_.push_back(std::move(value));
    }
    /// Below the topmost mark nothing may be taken.
    Value& top(std::size_t depth = 0) {
        if (stack_.size() <= depth + (marks_.empty() ? 0 : marks_.back()))
            refuse("a value", "none", "stack_underflow");
        return stack_[stack_.size() - 1 - depth];
    }
    Value pop() {
        Value value = std::move(top());
        stack_.pop_back();
        return value;
    }
    Array since_mark() {
        if (marks_.empty()) refuse("a mark", "none", "missing_marker");
        const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
        Array items(std::make_move_iterator(first), std::make_move_iterator(stack_.end()));
        stack_.erase(first, stack_.end());
        marks_.pop_back();
        return items;
    }
    void string(std::uint64_t length) {
        const std::string_view text = take(length);
        if (find_invalid_utf8(text) != std::string_view::npos) refuse("UTF-8", "other text", "bad_utf8");
        push(text);
    }
    void signed_number(std::size_t bytes) {
        if (bytes > 8) refuse("an integer of 64 bits", "a larger one", "bad_number");
        std::uint64_t value = number(bytes);
        if (bytes > 0 && bytes < 8 && (value >> (8 * bytes - 1) & 1U) != 0)
            value |= ~std::uint64_t{0} << (8 * bytes);
        push(static_cast<std::int64_t>(value));
    }
    void append(Array items) {
        Value& list = top();
        if (list.kind() != Kind::array) refuse("a list", to_string(list.kind()), "bad_opcode_target");
        for (Value& item : items) list.as_array().push_back(nested(std::move(item)));
    }
    void set(Array items) {
        Value& dict = top();
        if (dict.kind() != Kind::object) refuse("a dict", to_string(dict.kind()), "bad_opcode_target");
        if (items.size() % 2 != 0) refuse("pairs", "a key alone", "odd_dict_items");
        for (std::size_t i = 0; i < items.size(); i += 2) {
            if (items[i].kind() != Kind::string)
                refuse("texts as keys", to_string(items[i].kind()), "bad_shape");
            dict.set(items[i].as_string(), nested(std::move(items[i + 1])));
        }
    }
    void tuple(std::size_t count) {
        Array items(count);
        for (std::size_t i = count; i > 0; --i) items[i - 1] = nested(pop());
        push(std::move(items));
    }
    /// What stands inside of another value: its depth is limited, because everybody who walks through it recurses.
    static Value nested(Value value) {
        std::vector<std::pair<const Value*, std::size_t>> left = {{&value, 1}};
        while (!left.empty()) {
            const auto [here, depth] = left.back();
            left.pop_back();
            if (depth > kDepth) refuse("nesting up to 512", "more", "depth");
            if (here->kind() == Kind::array) {
                for (const Value& item : here->as_array()) left.emplace_back(&item, depth + 1);
            } else if (here->kind() == Kind::object) {
                for (const auto& member : here->as_object()) left.emplace_back(&member.second, depth + 1);
            }
        }
        return value;
    }
    /// What was remembered as it was then: texts never change, and what can is not asked for by plain values.
    void recall(std::uint64_t index) {
        if (index >= memo_.size()) refuse("a remembered value", "none", "bad_memo");
        const Value& value = memo_[static_cast<std::size_t>(index)];
        if (value.kind() == Kind::array || value.kind() == Kind::object)
            refuse("plain values", "a list or dict that stands there twice", "bad_memo");
        push(value);
    }

    /// One instruction; false at the last.
    bool step() {
        const auto code = static_cast<unsigned char>(take(1)[0]);
        switch (code) {
            case 0x80:
                if (number(1) > 5) refuse("protocol 5 or less", "a newer one", "bad_protocol");
                return true;
            case 0x95:
                if (number(8) > bytes_.size() - at_) refuse("a frame", "fewer bytes", "truncated");
                return true;
            case '.': return false;
            case 'N': push({}); return true;
            case 0x88: push(true); return true;
            case 0x89: push(false); return true;
            case 'J': signed_number(4); return true;
            case 'K': push(number(1)); return true;
            case 'M': push(number(2)); return true;
            case 0x8a: signed_number(static_cast<std::size_t>(number(1))); return true;
            case 'G': {
                std::uint64_t bits = 0;
                for (const char c : take(8)) bits = bits << 8U | static_cast<unsigned char>(c);
                push(std::bit_cast<double>(bits));
                return true;
            }
            case 'X': string(number(4)); return true;
            case 0x8c: string(number(1)); return true;
            case ']': push(Array{}); return true;
            case '}': push(Object{}); return true;
            case ')': push(Array{}); return true;
            case '(': marks_.push_back(stack_.size()); return true;
            default: return container(code);
        }
    }
    bool container(unsigned char code) {
        switch (code) {
            case 'a': {
                Array items;
                items.push_back(pop());
                append(std::move(items));
                return true;
            }
            case 'e': append(since_mark()); return true;
            case 's': {
                Array items(2);
                items[1] = pop();
                items[0] = pop();
                set(std::move(items));
                return true;
            }
            case 'u': set(since_mark()); return true;
            case 't': {
                Array items = since_mark();
                for (Value& item : items) item = nested(std::move(item));
                push(std::move(items));
                return true;
            }
            case 0x85: tuple(1); return true;
            case 0x86: tuple(2); return true;
            case 0x87: tuple(3); return true;
            case 0x94:
                if (memo_.size() >= kNodes) refuse("at most a million values", "more", "limit");
                memo_.push_back(is_container(top()) ? Value(Array{}) : top());
                return true;
            case 'h': recall(number(1)); return true;
            case 'j': recall(number(4)); return true;
            default: refuse("plain values", "instruction " + std::to_string(code), "bad_opcode");
        }
    }
    static bool is_container(const Value& value) {
        return value.kind() == Kind::array || value.kind() == Kind::object;
    }

    std::string_view bytes_;
    std::size_t at_ = 0;
    std::size_t nodes_ = 0;
    Array stack_ = {};
    Array memo_ = {};
    std::vector<std::size_t> marks_ = {};
};

}  // namespace

std::string write_plain_pickle(const Value& value) { return Writer().text(value); }

bool looks_like_pickle(std::string_view text) noexcept {
    // The byte 0x80 and a protocol of 2 to 5. No text of JSON begins like this.
    return text.size() > 2 && text.starts_with("gA") && text[2] >= 'I' && text[2] <= 'X';
}

Value read_plain_pickle(std::string_view text) {
    const auto bytes = from_base64(text);
    if (!bytes) refuse("base64", "other text", "bad_base64");
    return Reader(*bytes).value();
}

}  // namespace dbos
