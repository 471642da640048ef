package edgernn

/*
#include "edgernn.h"
*/
import "C"

import "unsafe"

// VocabularySize returns the number of symbols; 0 where the model has no vocabulary.
func (model *Model) VocabularySize() int {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return 0
	}
	return int(C.edgernn_vocabulary_size(model.model))
}

// Symbol returns the text of an id, and whether the id is in the vocabulary.
func (model *Model) Symbol(id int64) (string, bool) {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return "", false
	}
	symbol := C.edgernn_symbol(model.model, C.int64_t(id))
	return C.GoString(symbol), symbol != nil
}

// Encode returns the ids of a text, taking the longest symbol that fits at each place.
func (model *Model) Encode(text string) ([]int64, error) {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return nil, ErrClosed
	}
	bytes := []byte(text + "\x00")
	var e C.edgernn_error
	for ids := make([]int64, len(bytes)); ; {
		var count C.size_t
		status := C.edgernn_encode(model.model, (*C.char)(start(bytes)), C.size_t(len(text)),
			(*C.int64_t)(unsafe.Pointer(&ids[0])), C.size_t(len(ids)), &count, &e)
		if err := failure(status, &e); err != nil {
			return nil, err
		}
		if int(count) <= len(ids) {
			return ids[:count], nil
		}
		ids = make([]int64, count)
	}
}

// Decode returns the text of ids; padding is left out.
func (model *Model) Decode(ids []int64) (string, error) {
	model.mutex.RLock()
	defer model.mutex.RUnlock()
	if model.model == nil {
		return "", ErrClosed
	}
	given := append(make([]int64, 0, len(ids)+1), ids...)
	first := (*C.int64_t)(unsafe.Pointer(&given[:1][0]))
	var e C.edgernn_error
	for text := make([]byte, 64+8*len(ids)); ; {
		var size C.size_t
		status := C.edgernn_decode(model.model, first, C.size_t(len(ids)),
			(*C.char)(start(text)), C.size_t(len(text)), &size, &e)
		if err := failure(status, &e); err != nil {
			return "", err
		}
		if int(size) < len(text) {
			return string(text[:size]), nil
		}
		text = make([]byte, size+1)
	}
}
