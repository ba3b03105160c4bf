/* mux_packets.c - frames into an encoder, its packets into the file.
 *
 * Both encoders end here: FFmpeg interleaves what they give out and writes it by mux.c's callbacks.
 * After each packet the file may have become complete enough for two things: its head is amended
 * (mux_boxes.c), and the file takes its name, since it plays from here on. */
#include "media/mux_internal.h"

lt_status lt_mux_encode(lt_mux *mux, AVCodecContext *encoder, AVStream *stream,
                        const AVFrame *frame)
{
    const char *what = encoder->codec->name;
    int code = avcodec_send_frame(encoder, frame);
    if (encoder == mux->video && !frame)
        mux->video_ended = 1;
    if (code < 0)
        return lt_mux_fail(mux, code, what);
    for (;;) {
        code = avcodec_receive_packet(encoder, mux->packet);
        if (code == AVERROR(EAGAIN) || code == AVERROR_EOF)
            return LT_OK;
        if (code < 0)
            return lt_mux_fail(mux, code, what);
        if (encoder == mux->video) {
            mux->frames_out++;
            mux->packet->duration = 1; /* some encoders leave it out; the last frame's counts */
        }
        mux->packet->stream_index = stream->index;
        av_packet_rescale_ts(mux->packet, encoder->time_base, stream->time_base);
        code = av_interleaved_write_frame(mux->file, mux->packet);
        if (code < 0 || mux->io_errno)
            return lt_mux_fail(mux, code, "writing");
        LT_TRY(lt_mux_boxes_amend(mux));
        if (!mux->hidden && !mux->made.shown && mux->bytes > mux->head_bytes)
            LT_TRY(lt_new_file_show(&mux->made, mux->replace)); /* it plays from here on */
    }
}
