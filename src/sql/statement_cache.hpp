// Prepared statements of one connection: by the address of a Statement constant, or by text (bounded).
#pragma once

#include <cstddef>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace dbos::sql {

/// Least recently used first out. Values are owned by pointer, so references stay valid until their eviction.
template <class Value>
class TextCache {
   public:
    explicit TextCache(std::size_t capacity) : capacity_(capacity) {}

    Value* find(std::string_view text) {
        const auto found = index_.find(text);
        if (found == index_.end()) return nullptr;
        order_.splice(order_.begin(), order_, found->second);
        return found->second->value.get();
    }

    /// Inserts a new text and returns what was pushed out, if anything.
    std::unique_ptr<Value> insert(std::string text, std::unique_ptr<Value> value) {
        order_.push_front({std::move(text), std::move(value)});
        index_.emplace(order_.front().text, order_.begin());
        if (order_.size() <= capacity_) return nullptr;
        std::unique_ptr<Value> evicted = std::move(order_.back().value);
        index_.erase(order_.back().text);
        order_.pop_back();
        return evicted;
    }

    void clear() {
        index_.clear();
        order_.clear();
    }

    template <class Visit>
    void each(Visit visit) {
        for (auto& entry : order_) visit(*entry.value);
    }

   private:
    struct Entry {
        std::string text;
        std::unique_ptr<Value> value;
    };
    std::size_t capacity_;
    std::list<Entry> order_;
    std::unordered_map<std::string_view, typename std::list<Entry>::iterator>
        index_;  // keys view the list's texts
};

}  // namespace dbos::sql
