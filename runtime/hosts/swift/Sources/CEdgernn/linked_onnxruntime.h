/* ONNX Runtime of an app that is linked with it. Only an app that calls this must be. */
#ifndef LINKED_ONNXRUNTIME_H
#define LINKED_ONNXRUNTIME_H

static inline const void *edgernn_linked_onnxruntime(void) {
    extern const void *OrtGetApiBase(void);
    return OrtGetApiBase();
}

#endif
